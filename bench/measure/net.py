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
for module in /modules/*.ko; do insmod $module; done
echo 4096 1048576 > /proc/sys/net/ipv4/tcp_rmem
until [ -c /dev/vport*p1 ]; do sleep 0.1; done
exec > $(echo /dev/vport*p1) 2>&1
for word in $(cat /proc/cmdline); do case $word in bench.*) eval ${word#bench.};; esac; done
ip link set lo up; ip link set eth0 mtu $mtu up; ip addr add 10.99.1.$number/24 dev eth0
ip route add default via 10.99.1.1
mkdir /www; head -c 1000 /dev/zero > /www/index.html
httpd -p 80 -h /www; iperf3 -s -D
for run in $(echo $runs | tr , ' '); do
	iperf3 -J -t $seconds $(echo $run | tr / ' ') | tr -d '\\n\\t '; echo; sleep 2
done
echo SERVING; exec sleep 1000
"""
MODULES = ["virtio_ring", "virtio", "virtio_mmio", "virtio_console", "failover", "net_failover", "virtio_net"]
SECONDS = 5
GUEST_SECONDS = 120  # bounds one that hangs
REQUESTS, CLIENTS = 300, 8  # the guest's server has a backlog of 9
GIGA = 1e9
# What hull-netd is to use at most, in CPU seconds for a gigabyte: what the prototype did, by MTU.
ASKED = {"member to member": (5.1, 0.53), "member to host": (9.3, 1.41), "host to member": (3.4, 1.27)}
MTUS = ["1500", "65520"]


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
    """A machine on one of the networks that carries out `runs` (arguments of iperf3, with / between them) and then serves.
    A context; waits until it serves. What matters for speed is as in hull's machines (vm/launch.c, guest/net.c)."""

    def __init__(self, bench, kernel, initramfs, kind, number, runs=()):
        self.kind, self.number, self.helper = kind, number, None
        self.directory = os.path.join(bench.directory, "guest-%d" % number)
        self.build = os.path.dirname(os.path.realpath(bench.program))
        self.http, self.iperf = free_port(), free_port()
        os.makedirs(self.directory, exist_ok=True)
        mtu = 1500 if kind == "user" else 65520
        # Not the serial port: without a PIC its interrupt is known to some kernels only.
        self.qemu = ["qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on,pit=off,pic=off", "-accel", "tcg", "-cpu", "max,erms=off",
                     "-m", "512M",
                     "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                     "-global", "virtio-mmio.force-legacy=false", "-chardev", "file,id=out,path=/dev/stdout",
                     "-serial", "file:" + os.path.join(self.directory, "console"),
                     "-device", "virtio-serial-device", "-device", "virtserialport,chardev=out",
                     "-kernel", os.path.join(kernel, "vmlinux"), "-initrd", initramfs, "-append",
                     "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on tsc=reliable tsc_early_khz=2000000 mitigations=off psi=0 "
                     "bench.number=%d bench.mtu=%d bench.seconds=%d bench.runs=%s" % (number, mtu, SECONDS, ",".join(runs))]
        self.device = ["-device", "virtio-net-device,netdev=n0,mac=02:00:00:00:01:%02x,host_mtu=%d,ctrl_vq=off,ctrl_rx=off,"
                       "ctrl_rx_extra=off,ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off" % (number, mtu)]

    def start_user(self):
        address = "10.99.1.%d" % self.number
        return self.launch(["-netdev", "user,id=n0,net=10.99.1.0/24,host=10.99.1.1,dhcpstart=%s,hostfwd=tcp:127.0.0.1:%d-%s:80,"
                            "hostfwd=tcp:127.0.0.1:%d-%s:5201" % (address, self.http, address, self.iperf, address)])

    def start_passt(self):
        """It becomes nobody, who makes no socket in a private directory: it is given one end of a connected pair."""
        ours, its = socket.socketpair()
        with ours, its:
            self.helper = subprocess.Popen(
                ["passt", "-f", "-F", str(its.fileno()), "-a", "10.99.1.%d" % self.number, "-n", "24", "-g", "10.99.1.1",
                 "-m", "65520", "-t", "127.0.0.1/%d:80,%d:5201" % (self.http, self.iperf)], pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return self.launch(["-netdev", "stream,id=n0,addr.type=fd,addr.str=%d" % ours.fileno()], fds=[ours.fileno()])

    def start_netd(self):
        run = os.path.join(os.path.dirname(self.directory), "netrun")
        os.makedirs(run, exist_ok=True)
        return self.launch(["-netdev", "dgram,id=n0,local.type=fd,local.str=3"], [
            os.path.join(self.build, "tests/net/net-machine"), "-e", "-h", "all",
            "-p", "tcp:127.0.0.1:%d:80" % self.http, "-p", "tcp:127.0.0.1:%d:5201" % self.iperf,
            run, os.path.join(self.build, "hull-netd"), str(self.number)])

    def launch(self, network, prefix=(), fds=()):
        return subprocess.Popen([*prefix, *self.qemu, *self.device, *network], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", pass_fds=fds)

    def __enter__(self):
        self.process = getattr(self, "start_" + self.kind)()
        watch = threading.Timer(GUEST_SECONDS, self.process.kill)
        watch.start()
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "SERVING" in line:
                break
        watch.cancel()
        if not self.lines or "SERVING" not in self.lines[-1]:
            self.__exit__()
            raise ToolError("the guest on %s failed: %s %s" % (self.kind, "".join(self.lines[-5:]), self.kernel_lines()))
        return self

    def __exit__(self, *_):
        for process in self.process, self.helper:
            if process:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def kernel_lines(self):
        try:
            with open(os.path.join(self.directory, "console"), errors="replace") as file:
                return file.read()[-300:]
        except OSError:
            return ""

    def throughput(self):
        """Bits a second of each run."""
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


TABLES = {"guest to host": "Mbit/s", "host to guest": "Mbit/s", "guest to guest": "Mbit/s",
          "published port, one connection": "Mbit/s", "published port, requests": "1/s", "memory of its process (PSS)": "MB"}
NAMES = {"user": "QEMU -netdev user, MTU 1500", "netd": "hull-netd, MTU 65520", "passt": "passt, MTU 65520"}


def netd_of(directory):
    """The process that serves the networks of a run directory."""
    return next(p for p in proc.pids_of("hull-netd") if os.path.realpath("/proc/%d/fd/6" % p).startswith(directory))


def measure_guest(bench, kernel, initramfs, kind):
    """{table: value}, and how many requests were answered."""
    with Iperf() as iperf, Guest(bench, kernel, initramfs, kind, 11) as peer:
        # The others have no way from guest to guest but a port of the host.
        other = "-c/10.99.1.11" if kind == "netd" else "-c/10.99.1.1/-p/%d" % peer.iperf
        host = "-c/10.99.1.1/-p/%d" % iperf.port
        with Guest(bench, kernel, initramfs, kind, 10, [host, host + "/-R", other]) as guest:
            values = dict(zip(TABLES, (value / 1e6 for value in guest.throughput())))
            values["published port, requests"], answered = guest.requests()
            values["published port, one connection"] = guest.published() / 1e6
            helper = netd_of(os.path.join(bench.directory, "netrun")) if kind == "netd" else guest.helper and guest.helper.pid
            if helper:
                values["memory of its process (PSS)"] = proc.pss_mb([helper])
    return values, answered


def guests(bench):
    kernels = os.path.join(os.path.dirname(bench.program), "kernel")
    kernel = next((k for k in (os.path.join(kernels, n) for n in ("lean", "generic")) if os.path.isdir(k)), None)
    if not kernel:
        raise ToolError("there is no kernel in '%s'" % kernels)
    initramfs = make_guest(bench, kernel)
    kinds = ["user", "netd"] + (["passt"] if shutil.which("passt") else [])
    results = {name: Result("net: " + name, baseline=None if "memory" in name else NAMES["user"]) for name in TABLES}
    lost, broken = {}, {}
    for number in range(bench.rounds_or(3)):
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
            for name, value in values.items():
                series = results[name].get(NAMES[kind]) or results[name].add(NAMES[kind], TABLES[name])
                series.values.append(value)
    for result in results.values():
        result.notes = ["the same guest under emulation: its CPU is what bounds all of them"]
    results["published port, requests"].notes += [
        "%d requests of %d clients, a connection each; lost: %s" % (REQUESTS, CLIENTS, lost)]
    for kind, error in broken.items():
        results["guest to host"].notes.append("%s does not work here: %s" % (NAMES[kind], error.strip()[:200]))
    yield from results.values()


def transfer(bench, run, mtu, peer, direction):
    """(CPU seconds of hull-netd for a gigabyte, the most that it had resident in MB) of one."""
    build = os.path.dirname(os.path.realpath(bench.program))
    machine, netd = os.path.join(build, "tests/net/net-machine"), os.path.join(build, "hull-netd")
    with Iperf() as iperf:
        other = subprocess.Popen([machine, "-h", "all", "-m", mtu, run, netd, "11", "iperf3", "-s"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        other.stdout.readline()
        pid = netd_of(run)
        time.sleep(0.5)
        before = cpu_s(pid)
        target = ["10.99.1.11"] if peer else ["10.99.1.1", "-p", str(iperf.port)]
        text, _ = call([machine, "-h", "all", "-m", mtu, run, netd, "10", "iperf3", "-J", "-n", "600M", *direction,
                        "-c", *target], check=False)
        used = cpu_s(pid) - before
        peak = proc.field_mb(proc.read(pid, "status"), "VmHWM")
        other.kill()
        other.wait()
    while os.path.exists("/proc/%d" % pid):
        time.sleep(0.02)
    return used / received(text)[1] * GIGA, peak


def alone(bench):
    """Kernel TCP in namespaces at both ends: what a gigabyte costs hull-netd."""
    run = os.path.join(bench.directory, "alone")
    os.makedirs(run)
    result = Result("net: CPU seconds of hull-netd for a gigabyte")
    peak, within = 0, 0
    paths = (("member to member", True, []), ("member to host", False, []), ("host to member", False, ["-R"]))
    cases = [(title, peer, direction, mtu) for mtu in MTUS for title, peer, direction in paths]
    for title, _, _, mtu in cases:
        result.add("%s, MTU %s" % (title, mtu), "CPU s/GB")
    for _ in range(bench.rounds_or(3)):
        for series, (_, peer, direction, mtu) in zip(result.series, cases):
            value, resident = transfer(bench, run, mtu, peer, direction)
            series.values.append(value)
            peak = max(peak, resident)
    for series, (title, _, _, mtu) in zip(result.series, cases):
        within += series.median() <= ASKED[title][MTUS.index(mtu)]
    asked = ", ".join("%s %g and %g" % (title, *most) for title, most in ASKED.items())
    result.notes = ["network namespaces instead of machines; the most that it had resident: %.1f MB" % peak,
                    "asked for at most, at %s: %s; %d of %d are within it" % (" and ".join(MTUS), asked, within, len(cases))]
    yield result


def run(bench):
    for program in "iperf3", "cpio", "ldd":
        if not shutil.which(program):
            raise ToolError("cannot find '%s'" % program)
    yield from alone(bench)
    yield from guests(bench)
