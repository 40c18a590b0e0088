# SPDX-License-Identifier: Apache-2.0
"""volume: fio on a file of a volume, beside the raw virtio disk of another one in the same guest."""

from . import fixture
from .series import Result, interleave
from .tools import ToolError

IMAGE = "bench-fio:latest"
SECONDS = 3
SIZE = "256m"
# label: what it takes of fio, which column of its terse output, unit
JOBS = {
    "sequential read, 1 MB": (["--rw=read", "--bs=1m"], 6, "kB/s"),
    "sequential write, 1 MB": (["--rw=write", "--bs=1m"], 47, "kB/s"),
    "random read, 4 kB": (["--rw=randread", "--bs=4k"], 7, "IOPS"),
    "random write, 4 kB": (["--rw=randwrite", "--bs=4k"], 48, "IOPS"),
    "write 4 kB, fdatasync each": (["--rw=write", "--bs=4k", "--fdatasync=1"], 48, "IOPS"),
    "write 4 kB, fsync each": (["--rw=write", "--bs=4k", "--fsync=1"], 48, "IOPS"),
}
TARGETS = {"raw disk": "/dev/raw", "file of a volume": "/fs/file"}
# The raw disk is what another volume's file system is on; nothing of it is left.
PREPARE = r"""
mknod /dev/raw b $(awk '$5 == "/raw" {sub(":", " ", $3); print $3}' /proc/self/mountinfo) && umount /raw || exit 1
for file in /dev/raw /fs/file; do
	fio --name=fill --filename=$file --size=%s --rw=write --bs=1m --direct=1 > /dev/null || exit 1
done
""" % SIZE


def measure(bench, target, job):
    options, column, _ = JOBS[job]
    out, _ = bench.hull("exec", "bench-fio", "fio", "--name=job", "--filename=" + TARGETS[target], "--size=" + SIZE,
                        "--direct=1", "--ioengine=psync", "--runtime=%d" % SECONDS, "--time_based",
                        "--output-format=terse", *options)
    try:
        return float(out.strip().splitlines()[-1].split(";")[column])
    except (IndexError, ValueError):
        raise ToolError("fio said '%s'" % out.strip()) from None


def run(bench):
    fixture.import_with(bench, "fio", IMAGE, "volume")
    bench.hull.run("-d", "--privileged", "--name", "bench-fio", "-v", "bench-fs:/fs", "-v", "bench-raw:/raw", IMAGE,
                   "sleep", "100000")
    bench.hull("exec", "bench-fio", "sh", "-c", PREPARE)
    for job, (options, _, unit) in JOBS.items():
        result = Result("volume: " + job + " (more is better)")
        result.commands = ["fio --direct=1 --ioengine=psync --size=%s %s" % (SIZE, " ".join(options))]
        for target in TARGETS:
            result.add(target, unit)
        interleave(result, bench.rounds_or(3),
                   {target: (lambda target=target, job=job: measure(bench, target, job)) for target in TARGETS},
                   warm_up=0)
        of_raw = [file / raw for raw, file in zip(result.get("raw disk").values,
                                                  result.get("file of a volume").values)]
        result.notes = ["file of a volume / raw disk, by round: " + ", ".join("%.2f" % value for value in of_raw)]
        yield result
    bench.hull("delete", "-f", "bench-fio")
    bench.hull("volume", "delete", "bench-fs", "bench-raw")
