# SPDX-License-Identifier: Apache-2.0
"""Facts from /proc."""
import os
import re


def read(pid, name):
    try:
        with open("/proc/%s/%s" % (pid, name), "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def pids():
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]


def names(pid, text):
    """Whether the text is in its arguments or environment."""
    return text in read(pid, "cmdline") or text in read(pid, "environ")


def pids_naming(text):
    return [pid for pid in pids() if names(pid, text)]


def pids_of(program):
    return [pid for pid in pids() if name_of(pid) == program]


def mounts_below(directory):
    points = [line.split()[4] for line in read("self", "mountinfo").splitlines()]
    return sorted((point for point in points if point.startswith(directory + "/")), reverse=True)


def field_mb(text, name):
    """A line `name:  123 kB`, in MB of 2^20 bytes."""
    match = re.search(r"^%s:\s+(\d+) kB" % name, text, re.M)
    return int(match.group(1)) / 1024 if match else 0


def pss_mb(pids):
    return sum(field_mb(read(pid, "smaps_rollup"), "Pss") for pid in pids)


def page_tables_mb(pids):
    return sum(field_mb(read(pid, "status"), "VmPTE") for pid in pids)


def name_of(pid):
    return read(pid, "comm").strip()


def mappings(pid):
    """(permissions, path, {field: MB}) of each mapping."""
    head = re.compile(r"^[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+ *(.*)$")
    found = []
    for line in read(pid, "smaps").splitlines():
        match = head.match(line)
        if match:
            found.append((match.group(1), match.group(2), {}))
        elif line.endswith(" kB"):
            name, value = line.split(":")
            found[-1][2][name] = int(value.split()[0]) / 1024
    return found
