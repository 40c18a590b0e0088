# SPDX-License-Identifier: Apache-2.0
"""Images that are built once from Debian packages and kept in the cache. The one that is pulled has three layers of gzip:

    1 Debian, mmdebstrap --variant=minbase      2 what python3 adds to it      3 50,000 small files
"""
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile

from .tools import ToolError, call

SUITE = "bookworm"
SMALL_FILES = 50000
VERSION = 1  # of the recipe; another one is another image


def directory():
    return os.environ.get("HULL_BENCH_CACHE") or os.path.expanduser("~/.cache/hull-bench")


def image():
    """The image as an OCI layout; made if it is not there."""
    path = os.path.join(directory(), "debian-%d" % VERSION)
    if os.path.exists(path):
        return path
    os.makedirs(directory(), exist_ok=True)
    print("building the image for `pull` (once) ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=directory(), prefix="building.") as work:
        layers = [os.path.join(work, name) for name in ("base.tar", "python.tar", "small.tar")]
        full = os.path.join(work, "full.tar")
        debootstrap(layers[0])
        debootstrap(full, "--include=python3")
        write_difference(layers[0], full, layers[1])
        write_small_files(layers[2])
        layout = os.path.join(work, "layout")
        write_layout(layout, layers)
        os.rename(layout, path)
    return path


def debootstrap(path, *options):
    if not shutil.which("mmdebstrap"):
        raise ToolError("there is no mmdebstrap; run scripts/install-deps --test")
    call(["mmdebstrap", "--quiet", "--variant=minbase", *options, SUITE, path])


def import_with(bench, package, reference, benchmark):
    """A minimal Debian with a package, imported as reference for a benchmark."""
    path = os.path.join(directory(), "%s-%d.tar" % (package, VERSION))
    if not os.path.exists(path):
        os.makedirs(directory(), exist_ok=True)
        print("building the image for `%s` (once) ..." % benchmark, file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=directory(), prefix="building.") as work:
            made = os.path.join(work, package + ".tar")
            debootstrap(made, "--include=" + package)
            os.rename(made, path)
    bench.hull("image", "import", path, reference)


def identity(archive, member):
    content = archive.extractfile(member).read() if member.isreg() else member.linkname.encode()
    return member.type, member.mode, member.uid, member.gid, hashlib.sha256(content).digest()


def write_difference(base_path, full_path, path):
    """What full has beyond base, as a layer."""
    with tarfile.open(base_path) as base:
        known = {member.name: identity(base, member) for member in base}
    with tarfile.open(full_path) as full, tarfile.open(path, "w") as out:
        for member in full:
            if known.get(member.name) != identity(full, member):
                out.addfile(member, full.extractfile(member) if member.isreg() else None)


def write_small_files(path):
    """Text that compresses about as well as source code does."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz_", k=draw.randint(2, 12))) for _ in range(4000)]
    with tarfile.open(path, "w") as out:
        for number in range(SMALL_FILES):
            text = " ".join(draw.choices(words, k=draw.randint(10, 400))).encode()
            member = tarfile.TarInfo("srv/tree/%03d/file-%05d.txt" % (number // 100, number))
            member.size, member.mtime = len(text), 1700000000
            out.addfile(member, io.BytesIO(text))


def add_blob(layout, data_path=None, data=None):
    """Moves a file or writes bytes into the layout; its descriptor without a type."""
    if data_path:
        with open(data_path, "rb") as file:
            data = file.read()
    digest, size = hashlib.sha256(data).hexdigest(), len(data)
    if data_path:
        os.rename(data_path, os.path.join(layout, "blobs/sha256", digest))
    else:
        with open(os.path.join(layout, "blobs/sha256", digest), "wb") as file:
            file.write(data)
    return {"digest": "sha256:" + digest, "size": size}


def write_layout(layout, layers):
    kind = "application/vnd.oci.image."
    os.makedirs(os.path.join(layout, "blobs/sha256"))
    diff_ids, descriptors = [], []
    for path in layers:
        with open(path, "rb") as tar, open(path + ".gz", "wb") as file, \
                gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0, filename="") as out:
            digest = hashlib.sha256()
            while chunk := tar.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
        diff_ids.append("sha256:" + digest.hexdigest())
        descriptors.append(dict(add_blob(layout, path + ".gz"), mediaType=kind + "layer.v1.tar+gzip"))
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
              "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "layers": descriptors,
                "config": dict(add_blob(layout, data=json.dumps(config).encode()),
                               mediaType=kind + "config.v1+json")}
    entry = dict(add_blob(layout, data=json.dumps(manifest).encode()), mediaType=kind + "manifest.v1+json",
                 annotations={"org.opencontainers.image.ref.name": "latest"})
    for name, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                          ("index.json", {"schemaVersion": 2, "manifests": [entry]})):
        with open(os.path.join(layout, name), "w") as file:
            json.dump(content, file)


def describe(layout):
    """A line about the image's size."""
    with open(os.path.join(layout, "index.json")) as file:
        digest = json.load(file)["manifests"][0]["digest"]
    with open(os.path.join(layout, "blobs", *digest.split(":"))) as file:
        layers = json.load(file)["layers"]
    sizes = [layer["size"] / 1e6 for layer in layers]
    return "%d layers of gzip, %.0f MB (%s)" % (len(sizes), sum(sizes), ", ".join("%.0f" % s for s in sizes))
