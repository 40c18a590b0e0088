# SPDX-License-Identifier: Apache-2.0
"""pull: from a registry on loopback until a container could start."""
import os
import shutil
import threading

from . import fixture, proc
from .series import Result, interleave, timed
from .tools import Registry, call

NAME = "bench/debian:latest"


class PeakMemory(threading.Thread):
    """The largest VmHWM of a program's processes for one state, while the context lasts.

    VmHWM only grows, so that what is missed is what was allocated in the last interval."""

    INTERVAL_S = 0.01

    def __init__(self, program, text):
        super().__init__(daemon=True)
        self.program, self.text, self.mb, self.ended = program, text, 0, threading.Event()

    def run(self):
        pid = None
        while not self.ended.wait(self.INTERVAL_S):
            if pid is None:
                pid = next((p for p in proc.pids_of(self.program) if proc.names(p, self.text)), None)
            else:
                self.mb = max(self.mb, proc.field_mb(proc.read(pid, "status"), "VmHWM"))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


class Contest:
    """Each method pulls the image once into nothing and returns the seconds it took."""

    def __init__(self, bench, registry):
        self.reference = registry.reference(NAME)
        self.work = os.path.join(bench.directory, "pull")
        self.hull_tool = bench.another_hull("pull/hull")
        self.podman_tool = bench.another_podman("pull/podman")
        self.count = 0

    def hull(self):
        shutil.rmtree(self.hull_tool.root)
        os.mkdir(self.hull_tool.root)
        return timed(lambda: self.hull_tool("image", "pull", "--progress", "none", self.reference))()

    def hull_memory(self):
        """A pull of its own: looking on costs time."""
        shutil.rmtree(self.hull_tool.root)
        os.mkdir(self.hull_tool.root)
        with PeakMemory("hull-image", self.hull_tool.root) as peak:
            self.hull_tool("image", "pull", "--progress", "none", self.reference)
        return peak.mb

    def podman(self):
        self.podman_tool("rmi", "--all", "--force")
        return timed(lambda: self.podman_tool("pull", "--quiet", "--tls-verify=false", self.reference))()

    def copy(self, path):
        call(["skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://" + self.reference,
              "oci:%s:latest" % path])

    def fresh(self, name):
        path = os.path.join(self.work, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def skopeo(self):
        path = self.fresh("layout")
        return timed(lambda: self.copy(path))()

    def umoci(self):
        path, bundle = self.fresh("layout"), self.fresh("bundle")

        def both():
            self.copy(path)
            call(["umoci", "unpack", "--image", path + ":latest", bundle])
        return timed(both)()


def run(bench):
    layout = fixture.image()
    with Registry(os.path.join(bench.directory, "registry")) as registry:
        call(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:%s:latest" % layout,
              "docker://" + registry.reference(NAME)])
        contest = Contest(bench, registry)
        rounds = bench.rounds_or(5)
        result = Result("pull: registry on loopback to ready", baseline="podman pull")
        result.notes = [fixture.describe(layout) + "; page cache warm; each into an empty store",
                        "skopeo copies the blobs and unpacks nothing"]
        result.commands = ["hull image pull REF", "podman pull REF", "skopeo copy docker://REF oci:DIR",
                           "skopeo copy …; umoci unpack"]
        interleave(result, rounds, {
            "hull image pull": contest.hull,
            "podman pull": contest.podman,
            "skopeo copy": contest.skopeo,
            "skopeo copy, umoci unpack": contest.umoci,
        }, warm_up=0)
        memory = result.add("hull-image, VmHWM", "MB")
        for _ in range(3):
            memory.values.append(contest.hull_memory())
        contest.podman_tool("rmi", "--all", "--force")
        shutil.rmtree(contest.work, ignore_errors=True)
    yield result
