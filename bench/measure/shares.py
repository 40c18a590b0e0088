# SPDX-License-Identifier: Apache-2.0
"""share: work on a directory of the host, beside plain virtio-9p and virtiofsd in a machine without hull,
and a work tree of 50,000 files beside the same on a volume.

The other two run the same script in the same guest kernel under the same emulation; their machine is QEMU with an
initramfs of busybox and the kernel's modules. Where virtiofsd or the kernel folder is missing they are left out.
"""
import gzip
import os
import random
import re
import shutil
import subprocess
import tarfile
import time

from . import fixture
from .series import Result, interleave, timed
from .tools import BUSYBOX, ToolError

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
DIRECTORIES, FILES = 20, 25
TIMEOUT = 900
TREE_FILES, TREE_DIRECTORY = 50000, 50  # files, and how many of them are in one directory
TREE_PART = TREE_DIRECTORY * 40  # files below each directory at the top
GIT_IMAGE = "bench-git:latest"

# What is timed, by the guest's own clock: NAME COMMAND...
SCRIPT = r"""
t() {
	name=$1; shift
	start=$(cut -d ' ' -f 1 /proc/uptime)
	"$@" > /dev/null 2>&1
	end=$(cut -d ' ' -f 1 /proc/uptime)
	echo "RESULT $name $(awk "BEGIN { printf \"%.2f\", $end - $start }")"
}
cd /mnt
t untar tar xf tree.tar
t find find src
t 'find again' find src
t 'lstat all' find src -newer tree.tar
t 'lstat all again' find src -newer tree.tar
t 'read all' sh -c 'cat src/*/* > /dev/null'
t 'read all again' sh -c 'cat src/*/* > /dev/null'
t 'read 32 MB' cat big
t 'write 32 MB' dd if=/dev/zero of=written bs=1M count=32
t 'remove' rm -r tree
echo DONE
"""

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod $module 2> /dev/null; done
if grep -q bench=virtiofs /proc/cmdline; then mount -t virtiofs bench /mnt
else mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap bench /mnt; fi
sh /mnt/script
poweroff -f
"""


def fill(directory):
    """The tree, its archive, a large file, the script."""
    draw = random.Random(1)
    shutil.rmtree(directory, ignore_errors=True)
    for top in ("src", "tree"):
        for number in range(DIRECTORIES):
            path = os.path.join(directory, top, "d%d" % number)
            os.makedirs(path)
            for file in range(FILES):
                with open(os.path.join(path, "f%d" % file), "wb") as out:
                    out.write(draw.randbytes(draw.randint(100, 2000)))
    with tarfile.open(os.path.join(directory, "tree.tar"), "w") as archive:
        archive.add(os.path.join(directory, "tree"), "tree")
    shutil.rmtree(os.path.join(directory, "tree"))
    with open(os.path.join(directory, "big"), "wb") as out:
        out.write(draw.randbytes(32 << 20))
    with open(os.path.join(directory, "script"), "w") as out:
        out.write(SCRIPT)


def cpio_entry(name, mode, data=b""):
    """One entry of an archive as the kernel unpacks it (newc)."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def write_initramfs(path, kernel):
    entries = [cpio_entry(name, 0o40755) for name in ("bin", "modules", "mnt", "proc", "sys", "dev")]
    with open(shutil.which("busybox"), "rb") as file:
        entries.append(cpio_entry("bin/busybox", 0o100755, file.read()))
    for name in sorted(os.listdir(os.path.join(kernel, "modules"))):
        with open(os.path.join(kernel, "modules", name), "rb") as file:
            entries.append(cpio_entry("modules/" + name, 0o100644, file.read()))
    entries += [cpio_entry("init", 0o100755, INIT.encode()), cpio_entry("TRAILER!!!", 0)]
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"".join(entries))


def tsc_khz():
    with open("/proc/cpuinfo") as file:
        return int(float(re.search(r"cpu MHz\s*:\s*([\d.]+)", file.read())[1]) * 1000)


def plain_machine(kernel, initramfs, *devices):
    """Runs the script in a machine of its own; its output."""
    command = ["qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-cpu", "max", "-smp", "2", "-m", "1024", "-M",
               "microvm,acpi=on,rtc=on,pit=off,pic=off,isa-serial=on,memory-backend=mem0",
               "-global", "virtio-mmio.force-legacy=false", "-nodefaults", "-no-user-config", "-display", "none",
               "-no-reboot", "-serial", "stdio", "-kernel", os.path.join(kernel, "vmlinux"), "-initrd", initramfs,
               *devices]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT, check=False, text=True, errors="replace").stdout


def append(kind):
    return ("-append", "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable init_on_alloc=0 tsc_early_khz=%d bench=%s"
            % (tsc_khz(), kind))


def run_9p(kernel, initramfs, directory):
    return plain_machine(kernel, initramfs, *append("9p"), "-object", "memory-backend-ram,id=mem0,size=1G",
                         "-fsdev", "local,id=f,path=%s,security_model=none" % directory,
                         "-device", "virtio-9p-device,fsdev=f,mount_tag=bench")


def run_virtiofsd(kernel, initramfs, directory):
    socket = directory + ".sock"
    server = subprocess.Popen([VIRTIOFSD, "--socket-path=" + socket, "-o", "source=" + directory, "-o", "cache=auto"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not os.path.exists(socket):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ToolError("virtiofsd does not start")
            time.sleep(0.02)
        return plain_machine(kernel, initramfs, *append("virtiofs"),
                             "-object", "memory-backend-memfd,id=mem0,size=1G,share=on",
                             "-chardev", "socket,id=c,path=" + socket,
                             "-device", "vhost-user-fs-device,chardev=c,tag=bench")
    finally:
        server.kill()
        server.wait()
        if os.path.exists(socket):
            os.unlink(socket)


def take(results, label, output):
    values = re.findall(r"RESULT (.*) ([\d.]+)", output)
    if "DONE" not in output or not values:
        raise ToolError("the script did not end on %s:\n%s" % (label, output[-2000:]))
    for name, value in values:
        result = results.setdefault(name, Result("share: " + name, baseline="virtio-9p, cache=mmap"))
        # Below the clock's grain everything is as fast.
        (result.get(label) or result.add(label)).values.append(max(float(value), 0.01))


def fill_work_tree(directory):
    """Small files, committed, and an archive of it all beside it."""
    tree = os.path.join(directory, "tree")
    shutil.rmtree(directory, ignore_errors=True)
    for number in range(TREE_FILES):
        if number % TREE_DIRECTORY == 0:
            place = os.path.join(tree, "d%d" % (number // TREE_DIRECTORY // 40), "s%d" % (number // TREE_DIRECTORY))
            os.makedirs(place)
        with open(os.path.join(place, "f%d.c" % number), "w") as out:
            out.write("int f%d(void)\n{\n\treturn %d;\n}\n" % (number, number))
    git = ["git", "-C", tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run(git + words, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(os.path.join(directory, "tree.tar"), "w") as archive:
        archive.add(tree, "tree")


def work_tree(bench):
    """What one does in a large tree, again and again: on a share and on a volume of the same container."""
    directory = os.path.join(bench.directory, "work-tree")
    fill_work_tree(directory)
    bench.hull.run("-d", "--name", "bench-tree", "-v", directory + ":/share", "-v", "bench-tree:/volume", GIT_IMAGE,
                   "sleep", "100000")
    # An index that is of other inodes is brought up to date by the first git status.
    bench.hull("exec", "bench-tree", "sh", "-c", "cd /volume && tar xf /share/tree.tar && git config --global "
               "--add safe.directory '*' && cd tree && git status > /dev/null; cd /share/tree && git status > /dev/null")
    for name, command in (("git status", "git status --porcelain"), ("find", "find . -type f"),
                          ("find -newer", "find . -newer .git/HEAD -type f")):
        result = Result("share: %s in a tree of %d files" % (name, TREE_FILES), baseline="volume")
        result.commands = ["hull exec CONTAINER %s" % command]
        for place in ("share", "volume"):
            result.add(place)
        interleave(result, bench.rounds_or(3),
                   {place: timed(lambda place=place, command=command: bench.hull(
                       "exec", "-w", "/%s/tree" % place, "bench-tree", "sh", "-c", command + " > /dev/null"))
                    for place in ("share", "volume")}, warm_up=1)
        yield result
    yield build_pass(bench)
    bench.hull("delete", "-f", "bench-tree")
    bench.hull("volume", "delete", "bench-tree")
    shutil.rmtree(directory)


def build_pass(bench):
    """As a build does: each file of a part of the tree is looked at and read, and one is made beside."""
    command = "rm -rf out && mkdir out && tar cf - d0 | tar xf - -C out"
    result = Result("share: %d files read, and as many made beside" % min(TREE_PART, TREE_FILES), baseline="volume")
    result.commands = ["hull exec CONTAINER sh -c '%s'" % command]
    for place in ("share", "volume"):
        result.add(place)
    interleave(result, bench.rounds_or(3),
               {place: timed(lambda place=place: bench.hull("exec", "-w", "/%s/tree" % place, "bench-tree", "sh", "-c",
                                                            command)) for place in ("share", "volume")})
    return result


def run(bench):
    yield from small_tree(bench)
    if shutil.which("git"):
        fixture.import_with(bench, "git", GIT_IMAGE, "share")
        yield from work_tree(bench)


def small_tree(bench):
    bench.busybox()
    directory = os.path.join(bench.directory, "share")
    kernel = os.path.join(os.path.dirname(os.path.realpath(bench.program)), "kernel", "generic")
    initramfs = os.path.join(bench.directory, "share-initramfs")
    contestants = {"hull": lambda: bench.hull.run("--rm", "-v", directory + ":/mnt", BUSYBOX, "sh", "/mnt/script")[0]}
    if os.path.isdir(kernel) and shutil.which("busybox"):
        write_initramfs(initramfs, kernel)
        contestants["virtio-9p, cache=mmap"] = lambda: run_9p(kernel, initramfs, directory)
        if os.path.exists(VIRTIOFSD) and os.geteuid() == 0:
            contestants["virtiofsd, cache=auto"] = lambda: run_virtiofsd(kernel, initramfs, directory)
    bench.hull.run("--rm", BUSYBOX, "true")  # makes the template
    results = {}
    for _ in range(bench.rounds_or(3)):
        for label, contestant in contestants.items():
            fill(directory)
            take(results, label, contestant())
    for result in results.values():
        result.commands = ["hull run --rm -v DIR:/mnt busybox sh /mnt/script"]
        result.notes = ["%d files in %d directories" % (DIRECTORIES * FILES, DIRECTORIES)]
        yield result
