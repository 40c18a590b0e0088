# SPDX-License-Identifier: Apache-2.0
"""copy: `cp` of one large file and of many small ones, into a running container and out of it."""
import os
import shutil

from .series import Result, interleave, timed
from .tools import BUSYBOX

LARGE_BYTES = 1 << 30
FOLDERS, FILES = 200, 100


def make_large(path):
    with open(path, "wb") as file:
        for _ in range(LARGE_BYTES >> 20):
            file.write(os.urandom(1 << 20))


def make_many(path):
    for folder in range(FOLDERS):
        os.makedirs(os.path.join(path, "d%d" % folder))
        for number in range(FILES):
            with open(os.path.join(path, "d%d" % folder, "f%d" % number), "w", encoding="ascii") as file:
                file.write("file %d of folder %d\n" % (number, folder))


def measure(tool, source, destination):
    """Seconds; what was there before is gone first, and what came out does not stay."""
    inside = destination.partition(":")[2]
    if inside:
        tool("exec", "bench-copy", "rm", "-rf", inside)
    seconds = timed(lambda: tool("cp", source, destination))()
    if not inside:
        (shutil.rmtree if os.path.isdir(destination) else os.unlink)(destination)
    return seconds


def run(bench):
    bench.busybox()
    bench.hull.run("-d", "--name", "bench-copy", BUSYBOX, "sleep", "100000")
    bench.podman.run("-d", "--name", "bench-copy", BUSYBOX, "sleep", "100000")
    large, many = (os.path.join(bench.directory, name) for name in ("large", "many"))
    make_large(large)
    make_many(many)
    for what, path in (("1 GB", large), ("%d files" % (FOLDERS * FILES), many)):
        inside = "bench-copy:/" + os.path.basename(path)
        for way, source, destination in (("in", path, inside), ("out", inside, path + ".out")):
            result = Result("copy: cp of %s, %s" % (what, way), baseline="podman cp")
            result.commands = ["hull cp", "podman --runtime runc cp"]
            interleave(result, bench.rounds_or(3), {
                "hull cp": lambda: measure(bench.hull, source, destination),
                "podman cp": lambda: measure(bench.podman, source, destination),
            }, warm_up=0)
            yield result
    bench.hull("delete", "-f", "bench-copy")
    bench.podman("rm", "-f", *bench.podman.AT_ONCE, "bench-copy")
    os.unlink(large)
    shutil.rmtree(many)
