/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the control protocol against an emulator that says anything. */
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sock.h"
#include "vm/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(qmp_freep) struct qmp *qmp = NULL;
	AUTO_CLOSE int peer = -1;
	struct err err = { 0 };
	int64_t id;
	int pair[2];

	if (size > 65536 || sock_pair(pair, NULL) < 0) /* what a socket takes at once */
		return 0;
	qmp = qmp_new(pair[0]);
	peer = pair[1];
	id = qmp_send(qmp, "query-status", NULL, NULL);
	if (fd_write_all(peer, data, size) < 0)
		return 0;
	close(TAKE_FD(peer));
	if (id > 0)
		qmp_wait(qmp, id, UINT64_MAX, NULL, &err);
	for (;;) {
		AUTO_QMP_EVENT struct qmp_event event = { 0 };

		if (!qmp_take_event(qmp, &event))
			return 0;
	}
}
