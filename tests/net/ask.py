"""Clients. usage: ask.py {tcp|udp}:ADDRESS:PORT[=SIZE] [COUNT]

Prints what the server says; with COUNT, asks as often at once and prints how many were answered."""
import ipaddress
import socket
import sys
import threading

kind, _, rest = sys.argv[1].partition(":")
address, _, port = rest.rpartition(":")
port, _, size = port.partition("=")
family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def ask():
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((address, int(port)))
        if kind == "udp":
            sock.send(b"x" * int(size or 1))
            return sock.recv(65536)
        said = b""
        while part := sock.recv(4096):
            said += part
        return said


if len(sys.argv) < 3:
    try:
        print(ask().decode().strip())
    except OSError as error:
        sys.exit(f"{error}")
else:
    answers = []

    def collect():
        try:
            answers.append(ask())
        except OSError:
            pass

    threads = [threading.Thread(target=collect) for _ in range(int(sys.argv[2]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(1 for answer in answers if answer), "answered")
