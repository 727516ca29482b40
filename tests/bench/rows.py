"""What is measured: each measurement runs one load against one side and fills one or more rows."""

import os
from dataclasses import dataclass, field

import loads

SMALL = "/tedge/file-transfer/{}/1k"
MB = 1000 * 1000


@dataclass
class Row:
    title: str
    unit: str
    how: str  # the command, as it can be typed
    more_is_better: bool = True
    goal_ratio: float = None  # against nginx, as in `ratio` of report.py
    goal: float = None  # ours alone, in `unit`
    is_cpu: bool = False
    compared_to: str = None  # the title of the row that this one should equal
    values: dict = field(default_factory=dict)  # side -> one value a round


@dataclass
class Measurement:
    rows: list
    run: object  # side -> one value a row
    sides: tuple = ("ours", "nginx")
    rounds: int = None  # at most so many: what hardly varies need not be measured often


def make_files(bench, big):
    for directory, others in ("one", 0), ("thousand", 999), ("many", 99_999):
        path = bench.files / directory
        path.mkdir()
        (path / "1k").write_bytes(os.urandom(1024))
        for number in range(others):
            os.close(os.open(path / f"file-{number}", os.O_CREAT | os.O_WRONLY, 0o644))
    with open(bench.files / "big", "wb") as file:
        for _ in range(big // MB):
            file.write(os.urandom(MB))
        os.fsync(file.fileno())
    (bench.directory / "post.lua").write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.body = \'{{"text":"{"x" * 1013}"}}\'\n')


def cpu_row(title, unit, how):
    return Row(title, unit, how, more_is_better=False, is_cpu=True)


def measurements(bench, seconds, big):
    authority = bench.directory / "ca.pem"
    plainest = "16 connections"
    result = []

    def small_gets(title, directory, key=None, idle=False):
        path = SMALL.format(directory)

        def run(side):
            with bench.file_server(side, key) as server:
                if idle:
                    with loads.idle_connections(server, path, authority):
                        return rate(server, path)
                return rate(server, path)
        how = f"wrk -t1 -c16 -d{seconds}s --latency {'https' if key else 'http'}://…{path}"
        base = None if key or title == plainest else f"GET of 1 KB, {plainest}"
        result.append(Measurement([
            Row(f"GET of 1 KB, {title}", "/s", how, goal_ratio=1.0, compared_to=base),
            cpu_row(f"GET of 1 KB, {title}", "µs", how)], run))

    def rate(server, path, script=None):
        before = server.cpu_seconds()
        requests, per_second, _, _ = loads.wrk(server.url(path), seconds, script=script)
        return per_second, (server.cpu_seconds() - before) / requests * 1e6

    def transfers(verb, key):
        title = f"{verb} of {big // MB} MB{', TLS' if key else ''}"
        path = "/tedge/file-transfer/" + ("big" if verb == "GET" else "upload")
        upload = ["-T", bench.files / "big"] if verb == "PUT" else []

        def run(side):
            with bench.file_server(side, key) as server:
                before = server.cpu_seconds()
                took = loads.curl(server.url(path), authority, *upload, expect=("200", "201"))
                cpu = server.cpu_seconds() - before
            if upload:
                # The next one starts with no dirty page of this one, and with a new file.
                with open(bench.files / "upload", "rb") as stored:
                    os.fsync(stored.fileno())
                os.unlink(bench.files / "upload")
            return big / MB / took, cpu / (big / 1e9) * 1e3
        how = (f"curl -H Expect: {'-T FILE' if upload else '-o /dev/null'} "
               f"{'https' if key else 'http'}://…{path}")
        rows = [Row(title, "MB/s", how, goal_ratio=1.0), cpu_row(title, "ms/GB", how)]
        sides = ("ours", "unsynced", "nginx") if upload else ("ours", "nginx")
        result.append(Measurement(rows, run, sides))

    def handshakes(key, title):
        def run(side):
            with bench.file_server(side, key) as server:
                before = server.cpu_seconds()
                count, per_second = loads.handshakes(server.port, seconds, authority)
                return per_second, (server.cpu_seconds() - before) / count * 1e6
        how = f"two at once of openssl s_time -new -time {seconds} -verify 1 -connect …"
        result.append(Measurement([
            Row(f"TLS handshakes, {title}", "/s", how, goal_ratio=0.9),
            cpu_row(f"TLS handshake, {title}", "µs", how)], run))

    def proxied(verb, script=None):
        def run(side):
            with bench.upstream() as upstream, bench.proxy(side, upstream) as server:
                return rate(server, "/c8y/inventory", script)
        how = (f"wrk -t1 -c16 -d{seconds}s --latency {'-s post.lua ' if script else ''}"
               "http://…/c8y/inventory")
        result.append(Measurement([
            Row(f"proxied {verb} of 1 KB, TLS upstream", "/s", how, goal_ratio=1.0),
            cpu_row(f"proxied {verb} of 1 KB", "µs", how)], run))

    def added_time():
        def run(side):
            with bench.upstream() as upstream, bench.proxy(side, upstream) as server:
                _, _, *direct = loads.wrk(upstream.url("/inventory"), seconds, connections=1)
                _, _, *through = loads.wrk(server.url("/c8y/inventory"), seconds, connections=1)
            return [late - early for late, early in zip(through, direct)]
        how = f"wrk -t1 -c1 -d{seconds}s --latency through the proxy, less the same at the upstream"
        result.append(Measurement([
            Row(f"time added by the proxy, p{which}", "µs", how, False, goal_ratio=1.0)
            for which in (50, 99)], run))

    def at_rest(title, start, path, goals):
        def run(side):
            loads.context(authority)  # not on the clock
            with bench.upstream() as upstream:
                server = start(side, upstream)
                try:
                    first = loads.first_answer(server, path, authority)
                    resident, private = loads.settled_memory(server)
                finally:
                    server.stop()
            return first * 1e3, resident / 2**20, private / 2**20
        memory = "Rss, Private_Dirty in /proc/PID/smaps_rollup, at rest after one answer"
        result.append(Measurement([
            Row(f"{title}, exec to first answer", "ms", "a socket in a loop", False, goal=20),
            Row(f"{title}, resident", "MiB", memory, False, goal=goals[0]),
            Row(f"{title}, private and written", "MiB", memory, False, goal=goals[1])], run,
            rounds=2))

    def held(title, key, goal):
        path = SMALL.format("one")

        def run(side):
            with bench.file_server(side, key) as server:
                with loads.connect(server, authority) as connection:
                    loads.ask(connection, path)
                before = loads.settled_memory(server)[1]
                with loads.idle_connections(server, path, authority):
                    after = loads.settled_memory(server)[1]
            return [(after - before) / loads.IDLE / 1024]
        how = f"Private_Dirty with {loads.IDLE} keep-alive connections less that with none"
        result.append(Measurement([
            Row(f"an idle connection, {title}", "KiB", how, False, goal=goal)], run, rounds=1))

    small_gets(plainest, "one")
    small_gets(f"{plainest}, TLS", "one", key="ecdsa")
    small_gets("among 1,000 files", "thousand")
    small_gets("among 100,000 files", "many")
    small_gets(f"beside {loads.IDLE:,} idle connections", "one", idle=True)
    for verb in "GET", "PUT":
        for key in None, "ecdsa":
            transfers(verb, key)
    handshakes("ecdsa", "ECDSA P-256")
    handshakes("rsa", "RSA 2048")
    proxied("GET")
    proxied("POST", bench.directory / "post.lua")
    added_time()
    at_rest("file transfer, TLS", lambda side, _: bench.file_server(side, "ecdsa"),
            SMALL.format("one"), (3.5, 0.6))
    at_rest("proxy", bench.proxy, "/c8y/inventory", (4.5, 0.9))
    held("plain", None, 10)
    held("TLS", "ecdsa", 20)
    return result
