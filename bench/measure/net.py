# SPDX-License-Identifier: Apache-2.0
"""net: hull-netd beside QEMU's user-mode network and passt, the same guest on each; and by itself."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import proc
from .series import Result
from .tools import ToolError, call

GUEST = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
exec > /dev/ttyS0 2>&1
for module in /modules/*.ko; do insmod $module; done
for word in $(cat /proc/cmdline); do case $word in bench.*) eval ${word#bench.};; esac; done
ip link set lo up; ip link set eth0 mtu $mtu up; ip addr add 10.99.1.10/24 dev eth0
ip route add default via 10.99.1.1
mkdir /www; head -c 1000 /dev/zero > /www/index.html
httpd -p 80 -h /www; iperf3 -s -D
for direction in "" -R; do iperf3 -J $direction -c 10.99.1.1 -p $port -t $seconds | tr -d '\\n\\t '; echo; sleep 2; done
echo SERVING; exec sleep 1000
"""
MODULES = ["virtio_ring", "virtio", "virtio_mmio", "failover", "net_failover", "virtio_net"]
SECONDS = 5
REQUESTS, CLIENTS = 300, 16
GIGA = 1e9


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_s(pid):
    fields = proc.read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0


class Iperf:
    """A server on loopback, as a context."""

    def __enter__(self):
        self.port = free_port()
        self.process = subprocess.Popen(["iperf3", "-s", "-p", str(self.port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def received(text):
    """(bits a second, bytes) of iperf3's JSON."""
    try:
        total = json.loads(text[text.index("{"):])["end"]["sum_received"]
    except (ValueError, KeyError):
        raise ToolError("iperf3 failed: %s" % text.strip()[:300]) from None
    return total["bits_per_second"], total["bytes"]


def make_guest(bench, kernel):
    """The path of an initramfs with busybox, iperf3 and what a network card needs."""
    tree = os.path.join(bench.directory, "guest")
    for directory in "bin", "proc", "sys", "dev", "modules", "tmp":
        os.makedirs(os.path.join(tree, directory))
    iperf = shutil.which("iperf3")
    libraries = re.findall(r"(/\S+)", call(["ldd", iperf])[0])
    for source, target in [(shutil.which("busybox"), "/bin/busybox"), (iperf, "/bin/iperf3")] + [(l, l) for l in libraries]:
        os.makedirs(os.path.dirname(tree + target), exist_ok=True)
        shutil.copy(source, tree + target)
    for number, name in enumerate(MODULES):
        for path in glob.glob(os.path.join(kernel, "modules", "*-%s.ko" % name)):
            shutil.copy(path, os.path.join(tree, "modules", "%02d.ko" % number))
    with open(os.path.join(tree, "init"), "w") as file:
        file.write(GUEST)
    os.chmod(os.path.join(tree, "init"), 0o755)
    path = os.path.join(bench.directory, "guest.cpio")
    subprocess.run("find . | cpio -o -H newc --quiet > '%s'" % path, shell=True, cwd=tree, check=True)
    return path


class Guest:
    """A machine on one of the networks; waits until it serves. A context."""

    def __init__(self, bench, kernel, initramfs, kind, iperf):
        self.directory, self.kind, self.helper = bench.directory, kind, None
        self.build = os.path.dirname(os.path.realpath(bench.program))
        self.http, self.iperf = free_port(), free_port()
        mtu = 1500 if kind == "user" else 65520
        self.qemu = ["qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on,pit=off,pic=off", "-accel", "tcg", "-cpu", "max", "-m", "512M",
                     "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                     "-global", "virtio-mmio.force-legacy=false", "-serial", "stdio",
                     "-kernel", os.path.join(kernel, "vmlinux"), "-initrd", initramfs, "-append",
                     "console=ttyS0 quiet panic=-1 tsc=reliable tsc_early_khz=2000000 bench.port=%d bench.mtu=%d bench.seconds=%d"
                     % (iperf.port, mtu, SECONDS)]
        self.device = ["-device", "virtio-net-device,netdev=n0,mac=02:00:00:00:01:0a,host_mtu=%d" % mtu]

    def command(self):
        if self.kind == "user":
            return self.qemu + self.device + [
                "-netdev", "user,id=n0,net=10.99.1.0/24,host=10.99.1.1,hostfwd=tcp:127.0.0.1:%d-:80,"
                "hostfwd=tcp:127.0.0.1:%d-:5201,dhcpstart=10.99.1.10" % (self.http, self.iperf)]
        if self.kind == "passt":
            path = os.path.join(self.directory, "passt.sock")
            self.helper = subprocess.Popen(
                ["passt", "-f", "-s", path, "-a", "10.99.1.10", "-n", "24", "-g", "10.99.1.1", "-m", "65520",
                 "-t", "127.0.0.1/%d:80,%d:5201" % (self.http, self.iperf)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 10
            while not os.path.exists(path) and time.monotonic() < deadline:
                time.sleep(0.02)
            return self.qemu + self.device + ["-netdev", "stream,id=n0,addr.type=unix,addr.path=" + path]
        run = os.path.join(self.directory, "netrun")
        os.makedirs(run, exist_ok=True)
        return [os.path.join(self.build, "tests/net/net-machine"), "-e", "-h", "all",
                "-p", "tcp:127.0.0.1:%d:80" % self.http, "-p", "tcp:127.0.0.1:%d:5201" % self.iperf,
                run, os.path.join(self.build, "hull-netd"), "10", *self.qemu, *self.device,
                "-netdev", "dgram,id=n0,local.type=fd,local.str=3"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        watch = threading.Timer(90 + 2 * SECONDS, self.process.kill)
        watch.start()
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "SERVING" in line:
                break
        watch.cancel()
        if not self.lines or "SERVING" not in self.lines[-1]:
            self.__exit__()
            raise ToolError("the guest on %s failed: %s" % (self.kind, "".join(self.lines[-5:])))
        return self

    def __exit__(self, *_):
        for process in self.process, self.helper:
            if process:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def throughput(self):
        """Bits a second out of the guest, and into it."""
        return [received(line)[0] for line in self.lines if '"end"' in line]

    def published(self):
        text, _ = call(["iperf3", "-J", "-c", "127.0.0.1", "-p", str(self.iperf), "-t", str(SECONDS)], check=False)
        return received(text)[0]

    def requests(self):
        """Answered requests a second, each a connection."""
        left, answered = [REQUESTS], []

        def ask():
            while left[0] > 0:
                left[0] -= 1
                try:
                    with socket.create_connection(("127.0.0.1", self.http), 10) as sock:
                        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                        data = b""
                        while part := sock.recv(65536):
                            data += part
                        if len(data) > 1000:
                            answered.append(1)
                except OSError:
                    pass

        start = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(answered) / (time.monotonic() - start), len(answered)


def measure_guest(bench, kernel, initramfs, kind):
    """[Mbit/s out, in, to a published port, requests a second], and how many of those were answered."""
    with Iperf() as iperf, Guest(bench, kernel, initramfs, kind, iperf) as guest:
        out, back = guest.throughput()
        rate, answered = guest.requests()
        return [out / 1e6, back / 1e6, guest.published() / 1e6, rate], answered


def guests(bench):
    kernels = os.path.join(os.path.dirname(bench.program), "kernel")
    kernel = next((k for k in (os.path.join(kernels, n) for n in ("lean", "generic")) if os.path.isdir(k)), None)
    if not kernel:
        raise ToolError("there is no kernel in '%s'" % kernels)
    initramfs = make_guest(bench, kernel)
    kinds = ["user", "netd"] + (["passt"] if shutil.which("passt") else [])
    results = {name: Result("net: " + name) for name in
               ("guest to host", "host to guest", "published port, one connection", "published port, requests")}
    names = {"user": "QEMU -netdev user, MTU 1500", "netd": "hull-netd, MTU 65520", "passt": "passt, MTU 65520"}
    lost, broken = {}, {}
    for number in range(bench.rounds_or(2)):
        for kind in kinds[number % len(kinds):] + kinds[:number % len(kinds)]:
            if kind in broken:
                continue
            try:
                values, answered = measure_guest(bench, kernel, initramfs, kind)
            except ToolError as error:
                if kind == "netd":
                    raise
                broken[kind] = str(error)
                continue
            lost[kind] = lost.get(kind, 0) + REQUESTS - answered
            for result, value in zip(results.values(), values):
                unit = "1/s" if result.title.endswith("requests") else "Mbit/s"
                (result.get(names[kind]) or result.add(names[kind], unit)).values.append(value)
    for result in results.values():
        result.notes = ["the same guest under emulation: its CPU is what bounds all of them"]
    results["published port, requests"].notes += [
        "%d requests of %d clients, a connection each; lost: %s" % (REQUESTS, CLIENTS, lost)]
    for kind, error in broken.items():
        results["guest to host"].notes.append("%s does not work here: %s" % (names[kind], error.strip()[:200]))
    yield from results.values()


def alone(bench):
    """Kernel TCP in namespaces at both ends: what a gigabyte costs hull-netd."""
    build = os.path.dirname(os.path.realpath(bench.program))
    machine, netd = os.path.join(build, "tests/net/net-machine"), os.path.join(build, "hull-netd")
    run = os.path.join(bench.directory, "alone")
    os.makedirs(run)
    result = Result("net: CPU seconds of hull-netd for a gigabyte")
    result.notes = ["network namespaces instead of machines"]
    for mtu in "1500", "65520":
        for title, peer, direction in (("member to member", True, []), ("member to host", False, []),
                                       ("host to member", False, ["-R"])):
            with Iperf() as iperf:
                other = subprocess.Popen([machine, "-h", "all", "-m", mtu, run, netd, "11", "iperf3", "-s"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                other.stdout.readline()
                pid = next(p for p in proc.pids_of("hull-netd") if os.path.realpath("/proc/%d/fd/6" % p).startswith(run))
                time.sleep(0.5)
                before = cpu_s(pid)
                target = ["10.99.1.11"] if peer else ["10.99.1.1", "-p", str(iperf.port)]
                text, _ = call([machine, "-h", "all", "-m", mtu, run, netd, "10", "iperf3", "-J", "-n", "600M", *direction,
                                "-c", *target], check=False)
                used = cpu_s(pid) - before
                other.kill()
                other.wait()
            label = "%s, MTU %s" % (title, mtu)
            result.add(label, "CPU s/GB").values.append(used / received(text)[1] * GIGA)
            while os.path.exists("/proc/%d" % pid):
                time.sleep(0.02)
    yield result


def run(bench):
    for program in "iperf3", "cpio", "ldd":
        if not shutil.which(program):
            raise ToolError("cannot find '%s'" % program)
    yield from alone(bench)
    yield from guests(bench)
