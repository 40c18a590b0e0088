# SPDX-License-Identifier: Apache-2.0
"""memory: what idle containers cost the host."""
import time

from . import proc
from .series import Result
from .tools import BUSYBOX

SETTLE_S = 5  # the guest goes on tidying up for a moment after the process has started
SEVERAL = 8


def kind_of(permissions, path):
    """What a mapping of QEMU's is for."""
    if "/templates/" in path:
        return "guest memory"
    if "x" in permissions and "w" in permissions and not path:
        return "translated code"
    if path == "[heap]":
        return "heap"
    if path.startswith("/"):
        return "programs and libraries"
    return "other anonymous"


def breakdown(result, pids):
    """PSS of the kinds of mappings of one container."""
    kinds = {}
    for pid in pids:
        for permissions, path, fields in proc.mappings(pid):
            name = "hull-shim" if proc.name_of(pid) == "hull-shim" else "QEMU: " + kind_of(permissions, path)
            kinds[name] = kinds.get(name, 0) + fields.get("Pss", 0)
    for name in sorted(kinds, key=kinds.get, reverse=True):
        result.add("  of it " + name, "MB").values.append(kinds[name])


def run(bench):
    bench.busybox()
    names = ["bench-idle-%d" % number for number in range(SEVERAL)]
    result = Result("memory: PSS of idle containers")
    result.notes = ["all processes of a container: hull-shim and QEMU; conmon and sleep",
                    "PSS counts shared pages (the template's memory, programs) by share"]
    result.commands = ["hull run -d --network none busybox sleep 100000", "/proc/PID/smaps_rollup"]
    for tool in bench.hull, bench.podman:
        tool.run("-d", "--name", names[0], BUSYBOX, "sleep", "100000")
    time.sleep(SETTLE_S)
    pids = bench.hull.pids()
    result.add("hull, one container", "MB").values.append(proc.pss_mb(pids))
    breakdown(result, pids)
    result.add("hull, one: page tables (not in PSS)", "MB").values.append(proc.page_tables_mb(pids))
    result.add("podman, one container", "MB").values.append(
        proc.pss_mb(bench.podman.pids(names[:1])))
    for name in names[1:]:
        bench.hull.run("-d", "--name", name, BUSYBOX, "sleep", "100000")
    time.sleep(SETTLE_S)
    pids = bench.hull.pids()
    result.add("hull, each of %d" % SEVERAL, "MB").values.append(proc.pss_mb(pids) / SEVERAL)
    bench.hull("delete", "-f", *names)
    bench.podman("rm", "-f", *bench.podman.AT_ONCE, names[0])
    yield result
