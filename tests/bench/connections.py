"""Connections that this program holds itself: one at a time, idle ones, stalled ones.

Nothing here knows which side it is that answers.
"""

import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import cache


def first_answer(server, path, authority):
    """Seconds from just before exec to the whole head of a 200."""
    server.wait_until_it_accepts()
    with connect(server, authority) as connection:
        ask(connection, path)
    return time.monotonic() - server.started


def connect(server, authority):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    if server.scheme == "http":
        return connection
    return context(authority, server.identity).wrap_socket(
        connection, server_hostname="localhost")


@cache
def context(authority, identity=None):
    made = ssl.create_default_context(cafile=authority)
    if identity:
        made.load_cert_chain(*identity)
    return made


def ask(connection, path):
    """One GET; its answer is read whole and has to be a 200 with a Content-Length."""
    send_get(connection, path)
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and len(body) >= length(head):
            break
        received = connection.recv(65536)
        if not received:
            raise RuntimeError(f"{path}: closed after {answer[:200]}")
        answer += received
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {answer[:200]}")


def length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"no Content-Length: {head[:200]}")


def send_get(connection, path):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def idle(server, authority, path):
    """A connection that has had one answer."""
    connection = connect(server, authority)
    ask(connection, path)
    return connection


def stalled_upload(server, authority, path, size):
    """An upload of which a tenth has been sent."""
    connection = connect(server, authority)
    connection.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\n"
                       f"Content-Length: {size}\r\n\r\n".encode())
    connection.sendall(bytes(size // 10))
    return connection


def stalled_download(server, authority, path):
    """A download of which only the head has been read."""
    connection = connect(server, authority)
    send_get(connection, path)
    if not connection.recv(12).startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: no 200")
    return connection


def slow_head(server, authority, path):
    """A request whose head does not end."""
    connection = connect(server, authority)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".encode())
    return connection


@contextmanager
def held(begin, count):
    """So many connections, each as `begin` makes it of its number."""
    with ExitStack() as stack:
        yield [stack.enter_context(begin(number)) for number in range(count)]


@contextmanager
def dripped_on(connections):
    """A byte five times a second on each, for as long as the block lasts."""
    over, failed = threading.Event(), []

    def drip():
        try:
            while not over.wait(0.2):
                for connection in connections:
                    connection.sendall(b"x")
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)
    if failed:
        raise RuntimeError(f"a stalled client was turned away: {failed[0]}")
