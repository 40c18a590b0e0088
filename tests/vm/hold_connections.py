"""Many idle connections to a web server. usage: hold_connections.py ADDRESS PORT COUNT

Opens COUNT connections, asks for / on a new one while they are idle, then on each of them at the same time; prints how
often each answer came."""
import collections
import resource
import selectors
import socket
import sys

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def answers(socks):
    """The bodies of the answers to a request on each of the connections."""
    selector, data = selectors.DefaultSelector(), {}
    for sock in socks:
        sock.sendall(REQUEST)
        data[sock] = b""
        selector.register(sock, selectors.EVENT_READ)
    while selector.get_map():
        ready = selector.select(60)
        if not ready:
            sys.exit(f"{len(selector.get_map())} of {len(data)} connections are not answered")
        for key, _ in ready:
            part = key.fileobj.recv(4096)
            data[key.fileobj] += part
            if not part or data[key.fileobj].endswith(b"\n"):
                selector.unregister(key.fileobj)
    return [text.partition(b"\r\n\r\n")[2].decode().strip() or "none" for text in data.values()]


address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [socket.create_connection((address, port), 60) for _ in range(count)]
said = collections.Counter(answers([socket.create_connection((address, port), 60)]))
said.update(answers(held))
for text, times in said.items():
    print(times, text)
