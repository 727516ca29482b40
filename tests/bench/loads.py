"""What is sent to a server with the tools that everybody has: wrk, curl, openssl.

Nothing here knows which side it is that answers.
"""

import json
import re
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

# What wrk says itself ends at the 99th percentile.
DONE = """done = function(summary, latency, _)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "seconds": %f, "failed": %d, "at": [%d, %d, %d]}\\n',
        summary.requests, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""
POST = f"""wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{{"text":"{"x" * 1013}"}}'
"""
PERCENTILES = 50, 99, 99.9


@dataclass
class Rate:
    requests: int
    per_second: float
    at: list  # the time of one at each of PERCENTILES, µs


def wrk(directory, url, seconds, connections=16, post=False):
    script = directory / ("post.lua" if post else "get.lua")
    script.write_text(POST + DONE if post else DONE)
    said = run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
               seconds + 20)
    found = json.loads(said.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise RuntimeError(f"wrk {url}: {found['failed']} requests failed:\n{said}")
    return Rate(found["requests"], found["requests"] / found["seconds"], found["at"])


def curl(url, authority, *arguments):
    """Seconds that one transfer takes, by curl's own clock."""
    said = run([*CURL, "--cacert", str(authority), "-o", "/dev/null",
                "-w", "%{http_code} %{time_total}", *map(str, arguments), url], 60)
    status, seconds = said.split()
    if not status.startswith("20"):
        raise RuntimeError(f"curl {url}: status {status}")
    return float(seconds)


CURL = ["curl", "-q", "-sS", "--http1.1", "-H", "Expect:", "--noproxy", "*"]


def burst(server, authority, count, uploaded, downloaded, file):
    """So many uploads of the file and downloads of its like at once, each on a connection of its
    own; `uploaded` and `downloaded` are paths. The most threads that the server had."""
    command = [*CURL, "--cacert", str(authority), "-w", "%{http_code}\\n",
               "--parallel", "--parallel-immediate", "--parallel-max", str(count), "-K", "-"]
    up = "".join(f'url = "{server.url(uploaded)}-{number}"\nupload-file = "{file}"\n'
                 'output = "/dev/null"\n' for number in range(count))
    down = f'url = "{server.url(downloaded)}"\noutput = "/dev/null"\n' * count
    threads, begin = 0, time.monotonic()
    with ExitStack() as stack:
        clients = []
        for config in up, down:
            client = stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True))
            stack.callback(client.kill)
            client.stdin.write(config)
            client.stdin.close()
            clients.append(client)
        while any(client.poll() is None for client in clients):
            if time.monotonic() - begin > 90:
                raise RuntimeError(f"{count} uploads and downloads: not done after 90 s")
            threads = max(threads, server.threads())
            time.sleep(0.02)
        for client in clients:
            said = client.stdout.read()
            if len(re.findall(r"^20[0-9]$", said, re.M)) != count:
                raise RuntimeError(f"of {count} transfers at once some failed: {said[-500:]}")
    return threads


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


def run(command, limit):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=limit)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
