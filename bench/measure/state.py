# SPDX-License-Identifier: Apache-2.0
"""state: fork, snapshot, suspend and resume of a container that has touched 150 MB."""
import os
import re
import subprocess
import time

from . import proc
from .series import Result
from .tools import BUSYBOX, ToolError

TOUCHED_MB = 150
CHILDREN = 10
SETTLE_S = 5
STOOD_STILL = re.compile(r"stood still for ([0-9.]+) ms, its machine for ([0-9.]+) ms; ([0-9]+) pages")


def debug(bench, *arguments):
    """What a command says with --debug. Its supervisors keep its stderr: a file, then, and no pipe."""
    path = os.path.join(bench.directory, "state.debug")
    with open(path, "w") as errors:
        done = subprocess.run([bench.hull.program, "--debug", *arguments], env=bench.hull.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
    with open(path) as file:
        text = file.read()
    if done.returncode:
        raise ToolError("hull %s failed: %s" % (" ".join(arguments), text.splitlines()[-1:]))
    return text


def milliseconds(function):
    start = time.monotonic()
    function()
    return (time.monotonic() - start) * 1000


def start(bench):
    bench.hull.run("-d", "--name", "bench-state", "-m", "512m", "--tmpfs", "/touched", BUSYBOX, "sleep", "100000")
    bench.hull("exec", "bench-state", "dd", "if=/dev/urandom", "of=/touched/data", "bs=1M",
               "count=%d" % TOUCHED_MB)
    time.sleep(SETTLE_S)


def measure_forks(bench, result, rounds):
    still = result.add("fork: no process of the parent runs", "ms")
    stopped = result.add("fork: its machine is stopped", "ms")
    whole = result.add("fork: the command", "ms")
    answer = result.add("fork: first exec in the copy", "ms")
    for _ in range(rounds):
        begin = time.monotonic()
        found = STOOD_STILL.search(debug(bench, "fork", "bench-state", "--name", "bench-copy"))
        whole.values.append((time.monotonic() - begin) * 1000)
        still.values.append(float(found.group(1)))
        stopped.values.append(float(found.group(2)))
        answer.values.append(milliseconds(lambda: bench.hull("exec", "bench-copy", "true")))
        bench.hull("delete", "-f", "bench-copy")


def measure_memory(bench, result):
    before = proc.pss_mb(bench.hull.pids())
    result.add("memory: the parent (PSS)", "MB").values.append(before)
    bench.hull("fork", "bench-state", "-n", str(CHILDREN), "--name", "bench-copy")
    time.sleep(SETTLE_S)
    after = proc.pss_mb(bench.hull.pids())
    added = result.add("memory: what %d copies add (PSS)" % CHILDREN, "MB")
    added.values.append(after - before)
    result.add("memory: of %d times the parent" % CHILDREN, "%").values.append(
        100 * (after - before) / (CHILDREN * before))
    bench.hull("delete", "-f", *["bench-copy-%d" % (number + 1) for number in range(CHILDREN)])


def measure_snapshot(bench, result):
    import json
    took = milliseconds(lambda: bench.hull("snapshot", "create", "--name", "bench-snapshot", "bench-state"))
    result.add("snapshot: the command", "ms").values.append(took)
    document = json.loads(bench.hull("snapshot", "inspect", "bench-snapshot")[0])[0]
    result.add("snapshot: on disk, of what differs from the template", "x").values.append(
        document["sizeInBytes"] / document["savedMemoryInBytes"])
    first = milliseconds(lambda: bench.hull("snapshot", "restore", "bench-snapshot", "--name", "bench-copy"))
    bench.hull("delete", "-f", "bench-copy")
    second = milliseconds(lambda: bench.hull("snapshot", "restore", "bench-snapshot", "--name", "bench-copy"))
    bench.hull("delete", "-f", "bench-copy")
    bench.hull("snapshot", "delete", "bench-snapshot")
    result.add("snapshot: first restore", "ms").values.append(first)
    result.add("snapshot: later restore", "ms").values.append(second)


def measure_suspend(bench, result, rounds):
    suspend = result.add("suspend", "ms")
    resume = result.add("resume, to the first answer of exec", "ms")
    for _ in range(rounds):
        suspend.values.append(milliseconds(lambda: bench.hull("suspend", "bench-state")))
        begin = time.monotonic()
        bench.hull("resume", "bench-state")
        bench.hull("exec", "bench-state", "true")
        resume.values.append((time.monotonic() - begin) * 1000)


def run(bench):
    bench.busybox()
    rounds = bench.rounds_or(5)
    result = Result("state: a container with %d MB touched" % TOUCHED_MB)
    result.notes = ["the machine is stopped while its changed pages are copied a second time: memory bandwidth is "
                    "the bound; no process runs from the order to freeze to the order to go on"]
    result.commands = ["hull fork C", "hull fork C -n %d" % CHILDREN, "hull snapshot create C",
                       "hull snapshot restore S", "hull suspend C", "hull resume C && hull exec C true"]
    start(bench)
    measure_forks(bench, result, rounds)
    measure_memory(bench, result)
    measure_snapshot(bench, result)
    measure_suspend(bench, result, rounds)
    bench.hull("delete", "-f", "bench-state")
    yield result
