# SPDX-License-Identifier: Apache-2.0
"""What is printed, and docs/BENCHMARKS.md."""
import datetime
import json
import os
import platform
import re
import shutil

from . import proc
from .tools import call

HEADINGS = ["", "median", "quartiles", "least", "rounds", "ratio"]

BEGIN, END = "<!-- written by bench/run -->\n", "<!-- end -->\n"


def load():
    return " ".join("%.1f" % value for value in os.getloadavg())


def cpu_model():
    match = re.search(r"^model name\s*:\s*(.*)$", proc.read("", "cpuinfo"), re.M)
    return match.group(1) if match else platform.machine()


def version_of(*argv):
    text, _ = call(list(argv), check=False)
    match = re.search(r"\d+\.\d+[\w.+~-]*", text)
    return match.group(0) if match else "?"


def kernel_of(hull):
    text, _ = hull("system", "kernel", "list", "--format", "json", check=False)
    active = [kernel for kernel in json.loads(text or "[]") if kernel.get("active")]
    return "%s, %s" % (active[0]["name"], active[0]["release"]) if active else "?"


def accelerator_of(hull):
    text, _ = hull("system", "doctor", check=False)
    match = re.search(r"\b(kvm|tcg)\b", text)
    return match.group(1) if match else "?"


def emulator_of(hull):
    """[path, version] of the QEMU that runs the machines."""
    text, _ = hull("system", "doctor", "--format", "json", check=False)
    findings = [check["finding"] for check in json.loads(text or "[]") if check["name"] == "emulator"]
    return findings[0].split(", ") if findings else ["?", "?"]


def facts(bench):
    memory = proc.field_mb(proc.read("", "meminfo"), "MemTotal")
    emulator, emulator_version = emulator_of(bench.hull)
    return {
        "when": datetime.date.today().isoformat(),
        "processor": "%s, %d cores" % (cpu_model(), os.cpu_count()),
        "memory": "%.1f GB" % (memory / 1024),
        "host": "%s, Linux %s" % (platform.freedesktop_os_release()["PRETTY_NAME"], platform.release()),
        "hull": version_of(bench.program, "--version"),
        "accelerator": accelerator_of(bench.hull),
        "guest kernel": kernel_of(bench.hull),
        "QEMU": "%s, %s" % (emulator_version, "the package" if emulator == shutil.which("qemu-system-x86_64") else "lean"),
        "podman, runc": "%s, %s" % (version_of("podman", "--version"), version_of("runc", "--version")),
        "skopeo, umoci": "%s, %s" % (version_of("skopeo", "--version"), version_of("umoci", "--version")),
        "load at the start": load(),
    }


def number(value, unit):
    if unit == "s":
        return "%.3f s" % value if value < 10 else "%.1f s" % value
    return "%.1f %s" % (value, unit) if unit in ("MB", "ms") else "%g %s" % (value, unit)


def rows(result):
    for series in result.series:
        low, middle, high = series.quartiles()
        ratio = result.ratio(series)
        many = len(series.values) > 1
        yield [series.label, number(middle, series.unit),
               "%s – %s" % (number(low, series.unit), number(high, series.unit)) if many else "",
               number(min(series.values), series.unit) if many else "",
               str(len(series.values)), "%.2fx" % ratio if ratio else ""]


def print_facts(what):
    for key, value in what.items():
        print("%-18s %s" % (key, value))
    print(flush=True)


def print_result(result):
    table = [HEADINGS, *rows(result)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
    print(result.title)
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for note in result.notes:
        print("  (%s)" % note)
    print(flush=True)


def markdown_table(result):
    lines = ["## " + result.title[0].upper() + result.title[1:], ""]
    if result.commands:
        lines += ["```", *result.commands, "```", ""]
    lines += ["| %s |" % " | ".join(HEADINGS), "|---" * len(HEADINGS) + "|"]
    lines += ["| %s |" % " | ".join(row) for row in rows(result)]
    if result.notes:
        lines += ["", *["%s." % (note[0].upper() + note[1:]) for note in result.notes]]
    return "\n".join(lines) + "\n"


def write_markdown(path, what, results):
    """Between the marks of the file; what stands around them stays. A file that is not there is begun."""
    before = after = ""
    if os.path.exists(path):
        with open(path) as file:
            before, _, rest = file.read().partition(BEGIN)
        after = rest.partition(END)[2]
    table = ["| the machine | |", "|---|---|", *("| %s | %s |" % item for item in what.items()), ""]
    text = "\n".join([*table, *(markdown_table(result) for result in results)])
    with open(path, "w") as file:
        file.write(before + BEGIN + text + END + after)
