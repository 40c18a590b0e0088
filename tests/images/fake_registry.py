#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that lies, stalls and refuses; the repository's name says how.

usage: fake_registry.py DIRECTORY

Listens on a free port of 127.0.0.1, writes it to DIRECTORY/port, and a line per request to DIRECTORY/log:
METHOD PATH range=<header or -> auth=<header or ->. Repositories named push-… (PUSH_MODES) take what is pushed, and
what is in them then can be pulled. Every other repository has the same image of one layer (a
tar.gz with one file of random bytes), but for what MODES says of it.
"""
import base64
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import random
import socketserver
import sys
import tarfile
import threading
import time

OCI = "application/vnd.oci.image."
TYPE_MANIFEST = OCI + "manifest.v1+json"
TYPE_INDEX = OCI + "index.v1+json"
TYPE_CONFIG = OCI + "config.v1+json"
TYPE_LAYER = OCI + "layer.v1.tar+gzip"
PAYLOAD_SIZE = 3_000_000
USER = "Basic " + base64.b64encode(b"user:secret").decode()

MODES = """ok wrong-digest wrong-manifest truncated resume norange slow slow-head token token-denied basic forbidden
limited limited-always flaky broken loop loop-manifest redirect downgrade type endless huge-manifest schema1
foreign size-lie-small size-lie-large bad-gzip trailing bad-diffid absurd-size index other-platform only-arm
many-layers not-json deep-json no-config not-image config-mismatch empty-layer zstd-garbage nested""".split()


# push-flaky answers the first of each request with 500; push-cut takes half of the first PATCH and keeps it, push-forget
# does not; push-token wants a token to pull and push, push-read gives one that may only pull.
PUSH_MODES = "push-ok push-flaky push-broken push-cut push-forget push-token push-read".split()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}


def dump(value):
    return json.dumps(value).encode()


def make_layer():
    """The layer that all images have: as a tar, and compressed."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        member = tarfile.TarInfo("payload")
        member.size = PAYLOAD_SIZE
        out.addfile(member, io.BytesIO(random.Random(1).randbytes(PAYLOAD_SIZE)))
    return tar.getvalue(), gzip.compress(tar.getvalue(), 1, mtime=0)


class Pushed:
    """What was pushed into one repository."""

    def __init__(self):
        self.blobs = {}
        self.documents = {}
        self.uploads = {}
        self.top = None
        self.type = None


class Image:
    """The documents and blobs of one repository."""

    def __init__(self, mode, plain, layer):
        diff = digest(plain)
        if mode == "bad-gzip":
            layer = layer[:-100]
        elif mode == "trailing":
            layer += b"trailing garbage"
        elif mode == "bad-diffid":
            diff = digest(b"something else")
        elif mode == "empty-layer":
            layer, diff = b"", digest(b"")
        elif mode == "zstd-garbage":
            layer = b"\x28\xb5\x2f\xfd" + b"\xff" * 1000
        architecture = "s390x" if mode == "other-platform" else "amd64"
        config = dump({
            "os": "linux", "architecture": architecture, "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff] * (2 if mode == "config-mismatch" else 1)},
        })
        entry = descriptor(TYPE_LAYER, layer)
        if mode == "foreign":
            entry["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            entry["urls"] = ["http://127.0.0.1:1/layer"]
        elif mode == "size-lie-small":
            entry["size"] = 1000
        elif mode == "size-lie-large":
            entry["size"] += 1000
        elif mode == "absurd-size":
            entry["size"] = 1 << 60
        manifest = {"schemaVersion": 2, "mediaType": TYPE_MANIFEST,
                    "config": descriptor(TYPE_CONFIG, config), "layers": [entry]}
        if mode == "schema1":
            manifest = {"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}
        elif mode == "many-layers":
            manifest["layers"] = [entry] * 5000
        elif mode == "no-config":
            del manifest["config"]
        elif mode == "not-image":
            manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
        self.blobs = {digest(config): config, digest(layer): layer}
        self.type = TYPE_MANIFEST
        self.top = dump(manifest)
        self.documents = {digest(self.top): self.top}
        if mode in ("index", "only-arm", "nested"):
            platform = {"os": "linux", "architecture": "arm64" if mode == "only-arm" else "amd64"}
            entry = descriptor(TYPE_MANIFEST, self.top, platform=platform)
            if mode == "nested":
                inner = dump({"schemaVersion": 2, "mediaType": TYPE_INDEX, "manifests": [entry]})
                self.documents[digest(inner)] = inner
                entry = descriptor(TYPE_INDEX, inner, platform=platform)
            other = {"mediaType": TYPE_MANIFEST, "digest": digest(b"x"), "size": 9,
                     "platform": {"os": "linux", "architecture": "s390x"}}
            self.top = dump({"schemaVersion": 2, "mediaType": TYPE_INDEX, "manifests": [other, entry]})
            self.type = TYPE_INDEX
            self.documents[digest(self.top)] = self.top
        if mode == "not-json":
            self.top = b"<html>not JSON</html>"
        elif mode == "deep-json":
            self.top = b'{"a":' * 100000
        elif mode == "type":
            self.top, self.type = b"<html>please log in</html>", "text/html"
        layer_digest = digest(layer)
        if mode == "wrong-digest":
            self.blobs[layer_digest] = layer[:-1] + bytes([layer[-1] ^ 1])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    directory = None
    images = {}
    counts = {}
    lock = threading.Lock()

    def log_message(self, *args):
        pass

    def note(self):
        line = "%s %s range=%s auth=%s\n" % (
            self.command, self.path, self.headers.get("Range") or self.headers.get("Content-Range", "-"),
            self.headers.get("Authorization", "-").replace(" ", "_"))
        with self.lock, open(self.directory / "log", "a") as log:
            log.write(line)

    def count(self, key):
        """How often this was asked before."""
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key] - 1

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while True:
            self.wfile.write(chunk)

    def cut_off(self, body, at):
        """Promises all of the body and closes the connection in its midst."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:at])
        self.close_connection = True

    def blob(self, image, mode, name):
        body = image.blobs.get(name)
        start = self.headers.get("Range")
        big = body is not None and len(body) > 10000
        if body is None:
            return self.reply(404)
        if big and mode == "truncated":
            return self.cut_off(body[:], 1000) if not start else self.cut_off(body, 0)
        if big and mode in ("resume", "norange") and self.count((mode, name)) == 0:
            return self.cut_off(body, len(body) // 2)
        if big and mode == "slow":
            self.cut_off(body, 1000)
            self.wfile.flush()
            return time.sleep(20)
        if big and mode == "endless":
            return self.endless("application/octet-stream")
        if big and mode == "loop":
            return self.reply(307, Location=self.path)
        if big and mode == "redirect":
            port = self.server.server_address[1]
            return self.reply(307, Location="http://localhost:%d/elsewhere/%s" % (port, name))
        if big and mode == "downgrade":
            return self.reply(307, Location="file:///etc/passwd")
        if start and mode != "norange":
            start = int(start.split("=")[1].rstrip("-"))
            return self.reply(206, body[start:], Content_Range="bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        return self.reply(200, body)

    def must_log_in(self, mode):
        """Whether this was answered with a challenge."""
        scope = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        if mode not in ("push-token", "push-read"):
            return False
        if self.headers.get("Authorization", "").startswith("Bearer %s:%s" % (mode, scope)):
            return False
        self.drop_body()
        challenge = 'Bearer realm="http://%s/%s-realm",service="fake",scope="repository:%s:%s"' % (
            self.headers["Host"], mode, mode, scope)
        self.reply(401, WWW_Authenticate=challenge)
        return True

    def drop_body(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def push(self, parts):
        """HEAD, POST, PATCH and PUT of a repository that is pushed to."""
        self.note()
        mode = parts[1] if len(parts) > 3 else None
        if mode not in PUSH_MODES:
            self.drop_body()
            return self.reply(404)
        if self.must_log_in(mode):
            return None
        if mode == "push-broken" or mode == "push-flaky" and self.count((mode, self.command)) == 0:
            self.drop_body()
            return self.reply(500)
        image = self.images[mode]
        kind, name = parts[2], parts[3].split("?")[0]
        if self.command == "HEAD":
            return self.reply(200 if name in image.blobs else 404)
        if kind == "manifests":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            image.documents[digest(body)] = image.top = body
            image.type = self.headers["Content-Type"]
            return self.reply(201, Docker_Content_Digest=digest(body))
        if self.command == "POST":
            name = "upload%d" % self.count(mode)
            image.uploads[name] = b""
            self.drop_body()
            return self.reply(202, Location="/v2/%s/blobs/uploads/%s?state=0" % (mode, name))
        return self.upload(image, mode, parts[4].split("?")[0])

    def upload(self, image, mode, name):
        size = int(self.headers["Content-Length"])
        if name not in image.uploads:
            self.drop_body()
            return self.reply(404)
        start = self.headers.get("Content-Range")
        if start and int(start.split("-")[0]) != len(image.uploads[name]):
            self.drop_body()
            return self.reply(416)
        if mode in ("push-cut", "push-forget") and self.command == "PATCH" and self.count((mode, "cut")) == 0:
            image.uploads[name] += self.rfile.read(size // 2)
            if mode == "push-forget":
                del image.uploads[name]
            self.close_connection = True
            return self.connection.close()
        image.uploads[name] += self.rfile.read(size)
        got = image.uploads[name]
        if self.command == "PATCH":
            return self.reply(202, Range="0-%d" % (len(got) - 1),
                              Location="/v2/%s/blobs/uploads/%s?state=%d" % (mode, name, len(got)))
        if not self.path.endswith("digest=" + digest(got)):
            return self.reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"not what was sent"}]}')
        image.blobs[digest(got)] = got
        return self.reply(201)

    def upload_status(self, mode, name):
        got = self.images[mode].uploads.get(name)
        if got is None:
            return self.reply(404)
        return self.reply(204, Range="0-%d" % (len(got) - 1),
                          Location="/v2/%s/blobs/uploads/%s?state=%d" % (mode, name, len(got)))

    def do_HEAD(self):
        self.push(self.path.strip("/").split("/"))

    do_POST = do_PATCH = do_PUT = do_HEAD

    def refuse(self, mode, repository):
        """Answers instead of what was asked for, if the mode wants that."""
        auth = self.headers.get("Authorization", "")
        host = self.headers["Host"]
        if mode in ("token", "token-denied", "redirect") and auth != "Bearer t0k:" + repository:
            challenge = 'Bearer realm="http://%s/%s",service="fake",scope="repository:%s:pull"' % (
                host, mode, repository)
            return self.reply(401, WWW_Authenticate=challenge)
        if mode == "basic" and auth != USER:
            return self.reply(401, WWW_Authenticate='Basic realm="fake"')
        if mode == "forbidden":
            return self.reply(403)
        if mode == "limited-always" or mode == "limited" and self.count(mode) < 1:
            return self.reply(429, Retry_After="1")
        if mode == "broken" or mode == "flaky" and self.count(mode) < 2:
            return self.reply(500)
        return False

    def do_GET(self):
        self.note()
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[0] in ("token", "redirect"):
            return self.reply(200, dump({"token": "t0k:" + parts[0]}))
        if parts[0] == "token-denied":
            return self.reply(401)
        if parts[0].endswith("-realm"):
            mode = parts[0].removesuffix("-realm")
            wanted = "repository%%3A%s%%3Apull%%2Cpush" % mode in self.path
            actions = "pull,push" if wanted and mode == "push-token" else "pull"
            return self.reply(200, dump({"token": "%s:%s" % (mode, actions)}))
        if len(parts) == 5 and parts[1] in PUSH_MODES and parts[3] == "uploads":
            return None if self.must_log_in(parts[1]) else self.upload_status(parts[1], parts[4])
        if parts[0] == "elsewhere":
            return self.reply(200, self.images["redirect"].blobs[parts[1]])
        if len(parts) != 4 or parts[0] != "v2" or parts[1] not in self.images:
            return self.reply(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
        mode, kind, name = parts[1], parts[2], parts[3]
        image = self.images[mode]
        if self.must_log_in(mode) or self.refuse(mode, mode) is not False:
            return None
        if kind == "blobs":
            return self.blob(image, mode, name)
        if mode == "slow-head":
            return time.sleep(20)
        if mode == "loop-manifest":
            return self.reply(302, Location=self.path)
        if mode == "huge-manifest":
            return self.endless(TYPE_MANIFEST)
        document = image.documents.get(name, None if ":" in name else image.top)
        if document is None:
            return self.reply(404)
        said = digest(b"a lie") if mode == "wrong-manifest" else digest(document)
        kind = image.type if document == image.top else TYPE_INDEX if b'"manifests"' in document else TYPE_MANIFEST
        return self.reply(200, document, Content_Type=kind, Docker_Content_Digest=said)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that go away are the point of half the modes


def main():
    Handler.directory = pathlib.Path(sys.argv[1])
    layer = make_layer()
    Handler.images = {mode: Image(mode, *layer) for mode in MODES}
    Handler.images.update({mode: Pushed() for mode in PUSH_MODES})
    server = Server(("127.0.0.1", 0), Handler)
    port = Handler.directory / "port.tmp"
    port.write_text(str(server.server_address[1]))
    port.rename(Handler.directory / "port")
    server.serve_forever()


main()
