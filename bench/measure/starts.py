# SPDX-License-Identifier: Apache-2.0
"""start: `run --rm IMAGE true`, from template and cold, with volumes and shares, and where its milliseconds go."""
import os
import re
import shutil
import time
import statistics

from .report import emulator_of
from .series import Result, interleave, timed
from .tools import BUSYBOX, HULL_RUN, PODMAN_RUN

REST = 0.5
STEP = re.compile(r"^hull(?:-shim)?: debug:\s+([0-9.]+) ms\s+(.*)$")


def timeline(hull):
    """{step: milliseconds since the start} of one `--debug run`."""
    _, log = hull("--debug", "run", "--rm", *HULL_RUN, BUSYBOX, "true")
    steps = {}
    for line in log.splitlines():
        match = STEP.match(line)
        if match:
            steps.setdefault(match.group(2), float(match.group(1)))
    return steps


FROM = re.compile(r"debug: starts from (.*)$", re.M)


def make_templates(hull):
    """The image's is made after the first start, in the background; it is there when a start comes from another."""
    first = None
    for _ in range(30):
        _, log = hull("--debug", "run", "--rm", *HULL_RUN, BUSYBOX, "true")
        now = FROM.search(log)
        first = first or now
        if now and now.group(1) != first.group(1):
            return
        time.sleep(1)


def run(bench):
    bench.busybox()
    make_templates(bench.hull)
    rounds = bench.rounds_or(15)
    cold = bench.another_hull("cold", "[vm]\ntemplate = off\n")
    cold("image", "import", "--builtin")
    result = Result("start: run --rm IMAGE true", baseline="podman run")
    result.commands = ["hull run --rm %s busybox true" % " ".join(HULL_RUN),
                       "podman --runtime runc run --rm %s busybox true" % " ".join(PODMAN_RUN)]
    result.notes = ["the templates were made before (first start); cold: `[vm] template = off`",
                    "%.1f s of rest before each: a command returns before all that it started has ended" % REST]
    contestants = {
        "hull run": timed(lambda: bench.hull.run("--rm", BUSYBOX, "true")),
        "podman run": timed(lambda: bench.podman.run("--rm", BUSYBOX, "true")),
    }
    package = shutil.which("qemu-system-x86_64")
    if emulator_of(bench.hull)[0] != package:
        packaged = bench.another_hull("packaged", "[vm]\nqemu = %s\n" % package)
        packaged("image", "import", "--builtin")
        make_templates(packaged)
        contestants["hull run, the package's QEMU"] = timed(lambda: packaged.run("--rm", BUSYBOX, "true"))
    interleave(result, rounds, contestants, rest=REST)
    interleave(result, max(3, rounds // 3), {
        "hull run, cold boot": timed(lambda: cold.run("--rm", BUSYBOX, "true")),
    })
    yield result
    yield with_network(bench, rounds)
    yield with_storage(bench, rounds)
    yield from steps(bench, rounds)


CPU = re.compile(r"CPU time: emulator ([0-9.]+) ms")


def with_network(bench, rounds):
    """What the default network adds, its process's start included: that holds the log open until it ends, so each start
    finds it gone."""
    result = Result("start: with the default network")
    result.commands = ["hull --debug run --rm [--network none] busybox true"]
    titles = ["without: end", "with: end", "without: CPU time of the emulator", "with: CPU time of the emulator"]
    without, with_it, without_cpu, with_cpu = (result.add(title, "ms") for title in titles)
    for number in range(-1, rounds):
        kinds = [(HULL_RUN, without, without_cpu), ([], with_it, with_cpu)]
        for options, end, cpu in kinds if number % 2 else reversed(kinds):
            _, log = bench.hull("--debug", "run", "--rm", *options, BUSYBOX, "true")
            steps = dict((m.group(2), float(m.group(1))) for m in map(STEP.match, log.splitlines()) if m)
            if number >= 0:
                end.values.append(steps["engine is done"])
                cpu.values.append(float(CPU.search(log).group(1)))
    added = [statistics.median(b - a for a, b in zip(x.values, y.values)) for x, y in
             ((without, with_it), (without_cpu, with_cpu))]
    result.notes = ["added (medians of the pairs): %.0f ms, %.0f ms of the emulator's CPU time" % tuple(added)]
    return result


def with_storage(bench, rounds):
    """The same container with three volumes and two shared directories."""
    options = []
    for number in range(3):
        options += ["-v", "bench-start-%d:/v%d" % (number, number)]
    for number in range(2):
        path = os.path.join(bench.directory, "start-share-%d" % number)
        os.makedirs(path, exist_ok=True)
        options += ["-v", "%s:/s%d" % (path, number)]
    result = Result("start: with three volumes and two shared directories", baseline="without")
    result.commands = ["hull run --rm -v VOLUME:/v0 ... -v DIR:/s0 ... busybox true"]
    # The first ones make the volumes and the templates.
    interleave(result, rounds, {
        "without": timed(lambda: bench.hull.run("--rm", BUSYBOX, "true")),
        "with volumes and shares": timed(lambda: bench.hull.run("--rm", *options, BUSYBOX, "true")),
    }, warm_up=2)
    pairs = [more - less for less, more in zip(result.get("without").values,
                                               result.get("with volumes and shares").values)]
    result.notes = ["added: %.0f ms (median of the rounds)" % (1000 * statistics.median(pairs))]
    bench.hull("volume", "delete", *["bench-start-%d" % number for number in range(3)])
    return result


GUEST = "after the session came, "


def steps(bench, rounds):
    host = Result("start: when each step is reached (--debug)")
    guest = Result("start: the guest's part, since it was told what to run (--debug)")
    for _ in range(rounds):
        for name, value in timeline(bench.hull).items():
            result = guest if name.startswith(GUEST) else host
            label = name.removeprefix(GUEST)
            (result.get(label) or result.add(label, "ms")).values.append(value)
    return [result for result in (host, guest) if result.series]
