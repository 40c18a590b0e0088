# SPDX-License-Identifier: Apache-2.0
"""exec: `exec C true` in a container that runs."""
from .series import Result, interleave, timed
from .tools import BUSYBOX


def run(bench):
    bench.busybox()
    bench.hull.run("-d", "--name", "bench-exec", BUSYBOX, "sleep", "100000")
    bench.podman.run("-d", "--name", "bench-exec", BUSYBOX, "sleep", "100000")
    result = Result("exec: exec C true", baseline="podman exec")
    result.commands = ["hull exec C true", "podman --runtime runc exec C true"]
    interleave(result, bench.rounds_or(40), {
        "hull exec": timed(lambda: bench.hull("exec", "bench-exec", "true")),
        "podman exec": timed(lambda: bench.podman("exec", "bench-exec", "true")),
    }, warm_up=2)
    bench.hull("delete", "-f", "bench-exec")
    bench.podman("rm", "-f", *bench.podman.AT_ONCE, "bench-exec")
    yield result
