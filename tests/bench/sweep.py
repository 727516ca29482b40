#!/usr/bin/env python3
"""Measures what a sweep over many files costs: latency of a neighbour, processor, memory.

Usage: sweep.py PROGRAM [FILES [ROUNDS]]. GETs of one small file over one connection, in turn while
a service without limits is at rest and while one with limits sweeps; each is started new, five rounds.
Private memory is that of a service without limits, and the most and the last of one that sweeps.
"""

import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REQUESTS = 4000
LIMITS = '[http.files]\nmax_age = "90d"\nmax_total = "10G"\nmake_room = true\n'


def main():
    program, *numbers = sys.argv[1:]
    count, repeats = [int(number) for number in numbers] + [100_000, 5][len(numbers):]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        fill(root / "data/file-transfer", count)
        rounds = []
        for number in range(repeats):
            order = ("", LIMITS) if number % 2 == 0 else (LIMITS, "")
            rounds.append({limits: measure(program, root, limits) for limits in order})
        for limits, name in (("", "at rest"), (LIMITS, "sweeping")):
            for what in ("p50", "p99"):
                values = sorted(one[limits][what] for one in rounds)
                print(f"{name}: {what} {statistics.median(values) * 1e6:.0f} us")
        for what in ("p50", "p99"):
            ratios = [one[LIMITS][what] / one[""][what] for one in rounds]
            print(f"{what}, sweeping to at rest: {statistics.median(ratios):.3f}")
        whole = sweep_whole(program, root)
        print(f"a whole sweep of {count} files: {whole}")


def fill(files, count):
    for number in range(count):
        below = files / str(number % 100)
        if number < 100:
            below.mkdir(parents=True)
        (below / f"a-file-with-a-longer-name-{number}").touch()
    (files / "small").write_bytes(b"x" * 1000)


class Service:
    def __init__(self, program, root, limits, level="info"):
        (root / "tedge.toml").write_text(f'[data]\npath = "{root}/data"\n[http.bind]\nport = 0\n')
        (root / "tedge-http.toml").write_text(limits)
        command = [program, "--config-dir", str(root), f"--log-level={level}"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = self.wait_for("Serving http://")
        self.port = int(line.rsplit(":", 1)[1])

    def wait_for(self, text):
        for line in self.process.stderr:
            if text in line:
                return line
        raise SystemExit(f"the service ended without {text!r}")

    def processor(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def private(self):
        """In kB."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def measure(program, root, limits):
    service = Service(program, root, limits)
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    times = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        connection.request("GET", "/te/v1/files/small")
        connection.getresponse().read()
        times.append(time.perf_counter() - begin)
    service.end()
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def sweep_whole(program, root):
    service = Service(program, root, "")
    time.sleep(2)
    idle = service.private()
    service.end()
    service = Service(program, root, LIMITS, "debug")
    begin, before, seen = time.monotonic(), service.processor(), []
    sampler = threading.Thread(target=sample, args=(service, seen), daemon=True)
    sampler.start()
    service.wait_for("swept: ")
    took, processor = time.monotonic() - begin, service.processor() - before
    time.sleep(2)
    after = service.private()
    service.end()
    memory = f"private memory {idle} kB, at most {max(seen)} kB, after it {after} kB"
    return f"{took:.0f} s, {100 * processor / took:.2f} % of a processor, {memory}"


def sample(service, seen):
    while service.process.poll() is None:
        try:
            seen.append(service.private())
        except OSError:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
