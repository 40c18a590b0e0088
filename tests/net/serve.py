"""Servers that say whom they see. usage: serve.py {tcp|udp|tcp6|udp6|dns|dns-tcp}:PORT[=TEXT]...

Prints "listening" once all do. What udp answers is as long as what was asked. dns (by UDP) and dns-tcp answer every A question with the address TEXT."""
import selectors
import socket
import sys

selector = selectors.DefaultSelector()
KINDS = {"tcp": (socket.AF_INET, socket.SOCK_STREAM), "udp": (socket.AF_INET, socket.SOCK_DGRAM),
         "tcp6": (socket.AF_INET6, socket.SOCK_STREAM), "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
         "dns": (socket.AF_INET, socket.SOCK_DGRAM), "dns-tcp": (socket.AF_INET, socket.SOCK_STREAM)}


def serve_tcp(sock, text):
    peer, address = sock.accept()
    peer.sendall(f"{text} {address[0]}\n".encode())
    print("connection", address[0], flush=True)
    peer.close()


def serve_udp(sock, text):
    data, address = sock.recvfrom(65536)
    print("datagram", len(data), address[0], flush=True)
    sock.sendto(f"{text} {len(data)} {address[0]}".encode().ljust(len(data)), address)


def answer_of(data, text):
    end = data.index(0, 12) + 5
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(text)
    return data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:end] + answer


def serve_dns(sock, text):
    data, address = sock.recvfrom(65536)
    sock.sendto(answer_of(data, text), address)


def serve_dns_tcp(sock, text):
    with sock.accept()[0] as peer, peer.makefile("rb") as stream:
        reply = answer_of(stream.read(int.from_bytes(stream.read(2), "big")), text)
        peer.sendall(len(reply).to_bytes(2, "big") + reply)


HANDLERS = {"dns": serve_dns, "dns-tcp": serve_dns_tcp}
for argument in sys.argv[1:]:
    kind, _, rest = argument.partition(":")
    port, _, text = rest.partition("=")
    family, type_ = KINDS[kind]
    sock = socket.socket(family, type_)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", int(port)))
    if type_ == socket.SOCK_STREAM:
        sock.listen(256)
    handler = HANDLERS.get(kind, serve_tcp if type_ == socket.SOCK_STREAM else serve_udp)
    selector.register(sock, selectors.EVENT_READ, (handler, text or "hello"))
print("listening", flush=True)
while True:
    for key, _ in selector.select():
        key.data[0](key.fileobj, key.data[1])
