#!/usr/bin/env python3
"""Takes what a hull guest needs out of an unpacked kernel package.

usage: unpack.py ROOT RELEASE OUT

ROOT is the unpacked package (boot/, lib/modules/). OUT gets vmlinux, modules/NN-name.ko in load order, release.
Reads the modules' own .modinfo, so that neither kmod nor a depmod run is needed.
"""
import lzma
import os
import struct
import subprocess
import sys
import zlib

MODULES = """
    virtio_mmio virtio_blk virtio_scsi sd_mod virtio_net virtio_console virtio_rng virtio_balloon
    9p 9pnet_virtio 9pnet_fd fuse virtiofs overlay erofs ext4 squashfs loop binfmt_misc button
""".split()

SUFFIXES = (".ko", ".ko.xz", ".ko.zst")


def fail(message):
    sys.exit("Error: " + message)


def decompress(data, what):
    if data.startswith(b"\x7fELF"):
        return data
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(data)
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    fail("compression of %s is unknown: %s" % (what, data[:6].hex()))


def extract_elf(path):
    """The ELF image inside a bzImage, found by the header of Documentation/arch/x86/boot.rst."""
    with open(path, "rb") as f:
        image = f.read()
    if len(image) < 0x260 or image[0x202:0x206] != b"HdrS":
        fail("'%s' is not a bzImage" % path)
    version, = struct.unpack_from("<H", image, 0x206)
    if version < 0x208:
        fail("boot protocol %#x of '%s' is older than 2.08" % (version, path))
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + offset
    payload = image[start:start + length]
    if not length or len(payload) != length:
        fail("'%s' is truncated" % path)
    # The kernel's build appends the image's size, four bytes that are no part of an xz or zstd stream.
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        payload = payload[:-4]
    elf = decompress(payload, "'%s'" % path)
    if not elf.startswith(b"\x7fELF"):
        fail("payload of '%s' is not an ELF image" % path)
    return elf


def modinfo(elf):
    """The key=value strings of section .modinfo of a 64-bit little-endian module."""
    shoff, = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", elf, shoff + i * size) for i in range(count)]
    for name, _, _, _, offset, length in sections:
        at = sections[names][4] + name
        if elf[at:at + 9] == b".modinfo\0":
            strings = elf[offset:offset + length].decode("utf-8", "replace").split("\0")
            return [tuple(s.split("=", 1)) for s in strings if "=" in s]
    return []


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


class Modules:
    def __init__(self, tree):
        self.paths = {}
        self.order = []     # names, dependencies first
        self.images = {}
        for folder, _, files in os.walk(tree):
            for name in files:
                if name.endswith(SUFFIXES):
                    self.paths[module_name(name)] = os.path.join(folder, name)
        with open(os.path.join(tree, "modules.builtin")) as f:
            self.built_in = {module_name(line.strip()) for line in f}
        self.aliases = None

    def image(self, name):
        if name not in self.images:
            with open(self.paths[name], "rb") as f:
                self.images[name] = decompress(f.read(), "module '%s'" % name)
        return self.images[name]

    def providers(self, alias):
        """Generic modules behind an alias. Soft dependencies of what we load name checksums only."""
        if self.aliases is None:
            self.aliases = {}
            for name, path in sorted(self.paths.items()):
                if "/kernel/crypto/" in path:
                    for key, value in modinfo(self.image(name)):
                        if key == "alias":
                            self.aliases.setdefault(value, []).append(name)
        return self.aliases.get(alias, [])

    def add(self, name):
        name = name.replace("-", "_")
        if name in self.built_in or name in self.order:
            return
        if name not in self.paths:
            fail("kernel has no module '%s'" % name)
        info = modinfo(self.image(name))
        for key, value in info:
            if key == "depends":
                for other in filter(None, value.split(",")):
                    self.add(other)
            elif key == "softdep" and value.startswith("pre:"):
                for other in value.split()[1:]:
                    self.add_soft(other)
        self.order.append(name)

    def add_soft(self, name):
        if name.replace("-", "_") in self.paths:
            self.add(name)
        else:
            for other in self.providers(name):
                self.add(other)


def main():
    if len(sys.argv) != 4:
        print("usage: unpack.py ROOT RELEASE OUT", file=sys.stderr)
        sys.exit(64)
    root, release, out = sys.argv[1:]
    os.makedirs(os.path.join(out, "modules"))
    with open(os.path.join(out, "vmlinux"), "wb") as f:
        f.write(extract_elf(os.path.join(root, "boot", "vmlinuz-" + release)))

    modules = Modules(os.path.join(root, "lib", "modules", release))
    for name in MODULES:
        modules.add(name)
    for number, name in enumerate(modules.order, 1):
        with open(os.path.join(out, "modules", "%02d-%s.ko" % (number, name)), "wb") as f:
            f.write(modules.image(name))

    with open(os.path.join(out, "release"), "w") as f:
        f.write(release + "\n")


main()
