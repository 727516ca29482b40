"""What is sent to a server, with the tools that everybody has: wrk, curl, openssl, sockets.

Nothing here knows which side it is that answers.
"""

import re
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack, contextmanager
from functools import cache

IDLE = 1000


def wrk(url, seconds, connections=16, script=None):
    """Requests per second, and the time of one at the 50th and 99th percentile in µs."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(script)] if script else []
    said = run([*command, url], seconds + 20)
    failed = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", said)
    if failed:
        raise RuntimeError(f"wrk {url}: {failed[0]}")
    requests = int(re.search(r"(\d+) requests in", said)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    return requests, rate, percentile(said, 50), percentile(said, 99)


def percentile(said, which):
    number, unit = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s)$", said, re.M).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def curl(url, authority, *arguments, expect):
    """Seconds that one transfer takes, by curl's own clock."""
    said = run(["curl", "-sS", "--cacert", str(authority), "-H", "Expect:", "-o", "/dev/null",
                "-w", "%{http_code} %{time_total}", *map(str, arguments), url], 60)
    status, seconds = said.split()
    if status not in expect:
        raise RuntimeError(f"curl {url}: status {status}")
    return float(seconds)


def handshakes(port, seconds, authority):
    """Full handshakes, and how many per second, of two clients at once, no session resumed."""
    command = ["openssl", "s_time", "-connect", f"localhost:{port}", "-new",
               "-time", str(seconds), "-CAfile", str(authority), "-verify", "1"]
    count, start = 0, time.monotonic()
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            client = stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True))
            stack.callback(client.kill)
            clients.append(client)
        for client in clients:
            said = client.communicate(timeout=seconds + 20)[0]
            done = re.search(r"(\d+) connections in \d+ real seconds", said)
            if not done:
                raise RuntimeError(f"openssl s_time: {said[-500:]}")
            count += int(done[1])
    return count, count / (time.monotonic() - start)


def first_answer(server, path, authority):
    """Seconds from just before exec to the whole head of a 200."""
    server.wait_until_it_accepts()
    with connect(server, authority) as connection:
        ask(connection, path)
    return time.monotonic() - server.started


@contextmanager
def idle_connections(server, path, authority):
    """Holds connections open, each of which has had one answer."""
    with ExitStack() as stack:
        for _ in range(IDLE):
            ask(stack.enter_context(connect(server, authority)), path)
        yield


def connect(server, authority):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    if server.scheme == "http":
        return connection
    return context(authority).wrap_socket(connection, server_hostname="localhost")


@cache
def context(authority):
    return ssl.create_default_context(cafile=authority)


def ask(connection, path):
    """One GET; its answer is read whole and has to be a 200 with a Content-Length."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if end and len(body) >= int(length[1]):
            break
        received = connection.recv(65536)
        if not received:
            raise RuntimeError(f"{path}: closed after {answer[:200]}")
        answer += received
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {answer[:200]}")


def settled_memory(server):
    """As Server.memory, once they have stood still for 2 s, or after 8 s."""
    begin = still = time.monotonic()
    last = server.memory()
    while time.monotonic() - still < 2 and time.monotonic() - begin < 8:
        time.sleep(0.1)
        now = server.memory()
        if now != last:
            last, still = now, time.monotonic()
    return last


def run(command, limit):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=limit)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
