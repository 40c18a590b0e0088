# SPDX-License-Identifier: Apache-2.0
"""many: a crowd of containers at once."""
import os
from concurrent.futures import ThreadPoolExecutor

from . import proc
from .series import Result, timed
from .tools import BUSYBOX


def crowd(result, label, tool, names, pids):
    """Starts them all, asks each, ends them. pids() lists their processes."""
    answers = []

    def start(name):
        tool.run("-d", "--name", name, BUSYBOX, "sleep", "100000")

    def ask(name):
        answers.append(tool("exec", name, "echo", name)[0].strip())

    def say(what, value, unit="s"):
        result.add("%s, %s" % (label, what), unit).values.append(value)

    # As many commands at once as a busy host would see, not one that waits for the other.
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        say("until all have started", timed(lambda: list(pool.map(start, names)))())
        say("until all have answered an exec", timed(lambda: list(pool.map(ask, names)))())
    say("answered", len(set(answers) & set(names)), "containers")
    say("PSS of all", proc.pss_mb(pids()), "MB")
    say("page tables of all (not in PSS)", proc.page_tables_mb(pids()), "MB")
    say("end and remove all", timed(lambda: tool("rm", "--all", "--force", *tool.AT_ONCE))())


def run(bench):
    bench.busybox()
    bench.hull.run("--rm", BUSYBOX, "true")  # makes the template
    names = ["bench-many-%d" % number for number in range(bench.count)]
    result = Result("many: %d containers at once" % bench.count)
    result.commands = ["hull run -d --network none busybox sleep 100000", "hull exec C echo C",
                       "hull rm --all --force"]
    result.notes = ["%d commands at a time" % (4 * (os.cpu_count() or 1))]
    crowd(result, "hull", bench.hull, names, bench.hull.pids)
    result.add("hull, processes left", "processes").values.append(len(bench.hull.pids()))
    crowd(result, "podman", bench.podman, names, lambda: bench.podman.pids(names))
    yield result
