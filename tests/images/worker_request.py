#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends one request to hull-image (src/image/worker.h) and prints its answers.

usage: worker_request.py PROGRAM ROOT VERB [NAME=VALUE...]    (values are JSON, or text if they are not)

Progress is left out unless PROGRESS is set. Fails if the answer is an error. --hang-up SECONDS before
PROGRAM closes the socket after a while, as a client that is interrupted does.
"""
import json
import os
import socket
import subprocess
import sys
import time


def main():
    args = sys.argv[1:]
    hang_up = None
    if args[0] == "--hang-up":
        hang_up = float(args[1])
        args = args[2:]
    program, root, verb, *pairs = args
    request = {"root": root, "verb": verb}
    for pair in pairs:
        name, value = pair.split("=", 1)
        try:
            request[name] = json.loads(value)
        except ValueError:
            request[name] = value
    ours, theirs = socket.socketpair()
    worker = subprocess.Popen(
        ["bash", "-c", 'exec "$0" 3<&"$1"', program, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()
    ours.sendall(json.dumps(request).encode() + b"\n")
    if hang_up is not None:
        time.sleep(hang_up)
        ours.close()
        return worker.wait(10)
    for line in ours.makefile():
        if not line.startswith('{"progress"') or "PROGRESS" in os.environ:
            print(line, end="")
    return worker.wait(10)


sys.exit(main())
