# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured, each on private state; Bench owns it all and removes it."""
import os
import shutil
import signal
import socket
import subprocess
import time

from . import proc

BUSYBOX = "docker.io/library/busybox:latest"
# Without these podman cannot start a container where the hard limits are low.
PODMAN_RUN = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--network", "none"]
HULL_RUN = ["--network", "none"]


class ToolError(Exception):
    pass


def call(argv, environment=None, check=True):
    """Runs a program to its end; (stdout, stderr) as text."""
    try:
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise ToolError("cannot run '%s': %s" % (argv[0], error.strerror)) from None
    if check and done.returncode:
        raise ToolError("`%s` failed with %d: %s" % (" ".join(argv), done.returncode, done.stderr.strip()))
    return done.stdout, done.stderr


class Hull:
    """hull on a state of its own."""

    AT_ONCE = []

    def __init__(self, program, directory, config=""):
        self.program = os.path.realpath(program)
        self.root = os.path.join(directory, "root")
        os.makedirs(self.root, exist_ok=True)
        path = os.path.join(directory, "hull.conf")
        with open(path, "w") as file:
            file.write(config)
        self.environment = dict(os.environ, HULL_ROOT=self.root, HULL_RUN=os.path.join(directory, "run"),
                                HULL_CONFIG=path)

    def __call__(self, *arguments, check=True):
        return call([self.program, *arguments], self.environment, check)

    def run(self, *arguments):
        return self("run", *HULL_RUN, *arguments)

    def pids(self):
        """All processes that work for this state: they have its path in their arguments or environment."""
        return proc.pids_naming(self.root)

    def end(self):
        if os.path.exists(self.program):
            self("delete", "--all", "--force", check=False)
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Podman:
    """podman on a storage of its own."""

    AT_ONCE = ["--time", "0"]  # beside rm --force: without waiting for an orderly end

    def __init__(self, directory):
        self.directory = directory
        self.prefix = ["podman", "--root", os.path.join(directory, "root"),
                       "--runroot", os.path.join(directory, "run"), "--cgroup-manager", "cgroupfs",
                       "--runtime", "runc"]

    def __call__(self, *arguments, check=True):
        return call([*self.prefix, *arguments], check=check)

    def run(self, *arguments):
        return self("run", *PODMAN_RUN, *arguments)

    def pids(self, names):
        """conmon and the process of each of the containers."""
        return self("inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", *names)[0].split()

    def end(self):
        if shutil.which("podman"):
            self("rm", "--all", "--force", *self.AT_ONCE, check=False)


class Registry:
    """docker-registry on a free port of loopback, as a context."""

    CONFIG = """version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "%s"}, delete: {enabled: true}}
http: {addr: "127.0.0.1:%d"}
"""

    def __init__(self, directory):
        self.directory, self.process = directory, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def __enter__(self):
        os.makedirs(self.directory)
        path = os.path.join(self.directory, "config.yml")
        with open(path, "w") as file:
            file.write(self.CONFIG % (os.path.join(self.directory, "storage"), self.port))
        try:
            self.process = subprocess.Popen(["docker-registry", "serve", path], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)
        except OSError as error:
            raise ToolError("cannot run 'docker-registry': %s" % error.strerror) from None
        self.wait()
        return self

    def wait(self):
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise ToolError("docker-registry does not answer")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def reference(self, name):
        return "127.0.0.1:%d/%s" % (self.port, name)


class Bench:
    """What the benchmarks share. A context: leaving it ends and removes all that was started."""

    def __init__(self, program, directory, rounds, count):
        if not os.access(program, os.X_OK):
            raise ToolError("there is no '%s'; run make first" % program)
        self.program, self.directory, self.rounds, self.count = program, directory, rounds, count
        self.hull = Hull(program, os.path.join(directory, "hull"))
        self.podman = Podman(os.path.join(directory, "podman"))
        self.ended = [self.hull, self.podman]
        self.has_busybox = False

    def another_hull(self, name, config=""):
        hull = Hull(self.program, os.path.join(self.directory, name), config)
        self.ended.append(hull)
        return hull

    def another_podman(self, name):
        podman = Podman(os.path.join(self.directory, name))
        self.ended.append(podman)
        return podman

    def busybox(self):
        """The small image, the same one for hull and podman."""
        if not self.has_busybox:
            path = os.path.join(self.directory, "busybox.tar")
            self.hull("image", "import", "--builtin")
            self.hull("image", "save", "-o", path, BUSYBOX)
            self.podman("load", "-i", path)
            self.has_busybox = True
        return BUSYBOX

    def rounds_or(self, default):
        return self.rounds or default

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A second ^C shall not leave machines running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for tool in self.ended:
            tool.end()
        for mount in proc.mounts_below(self.directory):
            call(["umount", "-l", mount], check=False)
