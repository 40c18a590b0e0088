/* SPDX-License-Identifier: Apache-2.0 */
/* How fast KVM runs guest kernel code here. */
#ifndef VM_KVM_PROBE_H
#define VM_KVM_PROBE_H

struct kvm_probe {
	int error;         /* negative errno when no machine could be run; 0 */
	char failed[64];   /* what failed, then */
	double guest_mips; /* million instructions per second in ring 0 */
};

/* Runs a small ring-0 loop in a VM of its own (in a child process, for at most 0.3 s). */
void kvm_probe_run(struct kvm_probe *ret_probe);

#endif
