# SPDX-License-Identifier: Apache-2.0
"""many: a crowd of containers at once."""
import os
from concurrent.futures import ThreadPoolExecutor

from . import proc
from .series import Result, timed
from .tools import BUSYBOX


def run(bench):
    bench.busybox()
    bench.hull.run("--rm", BUSYBOX, "true")  # makes the template
    names = ["bench-many-%d" % number for number in range(bench.count)]
    answers = []

    def start(name):
        bench.hull.run("-d", "--name", name, BUSYBOX, "sleep", "100000")

    def ask(name):
        answers.append(bench.hull("exec", name, "echo", name)[0].strip())

    # As many commands at once as a busy host would see, not one that waits for the other.
    with ThreadPoolExecutor(4 * (os.cpu_count() or 1)) as pool:
        def each(function):
            return lambda: list(pool.map(function, names))

        result = Result("many: %d containers at once" % bench.count)
        result.add("until all have started").values.append(timed(each(start))())
        result.add("until all have answered an exec").values.append(timed(each(ask))())
        pids = bench.hull.pids()
        result.add("PSS of all", "MB").values.append(proc.pss_mb(pids))
        result.add("page tables of all (not in PSS)", "MB").values.append(proc.page_tables_mb(pids))
        result.add("answered", "containers").values.append(len(set(answers) & set(names)))
        result.add("stop all").values.append(timed(lambda: bench.hull("stop", "--all", "-t", "1"))())
        result.add("delete all").values.append(timed(lambda: bench.hull("delete", "--all"))())
        result.add("processes left", "processes").values.append(len(bench.hull.pids()))
    yield result
