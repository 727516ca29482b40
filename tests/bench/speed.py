"""Rates and times beside nginx, and beside lighttpd where it is about files."""

import os
from contextlib import ExitStack

import connections
import goals
import loads
from rows import DELAY, Measurement, Row, cpu_row, less_is_better

ONE = "/tedge/file-transfer/one/1k"
STALLED = 50


def make_files(bench):
    one = bench.files / "one"
    one.mkdir()
    (one / "1k").write_bytes(os.urandom(1024))


def measurements(bench):
    yield small_gets(bench, "16 connections", None)
    yield small_gets(bench, "16 connections, TLS", "ecdsa")
    for verb in "GET", "PUT":
        for key in None, "ecdsa":
            yield transfers(bench, verb, key)
    yield many_transfers(bench)
    yield handshakes(bench, "ecdsa", "ECDSA P-256")
    yield handshakes(bench, "rsa", "RSA 2048")
    yield proxied(bench, "GET")
    yield proxied(bench, "POST")
    yield added_time(bench)
    yield beside_stalled_clients(bench)


def rate(bench, server, path, connections=16, post=False):
    """The rate, and the CPU time of the server for one request in µs."""
    before = server.cpu_seconds()
    found = loads.wrk(bench.directory, server.url(path), bench.seconds, connections, post)
    return found, (server.cpu_seconds() - before) / found.requests * 1e6


def small_gets(bench, title, key):
    def run(side):
        with bench.file_server(side, key) as server:
            found, cpu = rate(bench, server, ONE)
        return [found.per_second, cpu, *found.at]
    how = f"wrk -t1 -c16 -d{bench.seconds}s {'https' if key else 'http'}://…{ONE}"
    title = f"GET of 1 KB, {title}"
    return Measurement([
        Row(title, "/s", how, goal_ratio=goals.RATE), cpu_row(title, "µs", how),
        *(less_is_better(f"{title}, p{which}", "µs", how, DELAY)
          for which in loads.PERCENTILES)], run, sides=("ours", "nginx", "lighttpd"))


def transfers(bench, verb, key):
    megabytes = bench.size
    title = f"{verb} of {megabytes:,} MB{', TLS' if key else ''}"
    is_upload = verb == "PUT"
    path = "/tedge/file-transfer/" + ("up/file" if is_upload else "big")
    upload = ["-T", bench.files / "big"] if is_upload else []

    def run(side):
        with bench.file_server(side, key) as server:
            before = server.cpu_seconds()
            took = loads.curl(server.url(path), bench.authority, *upload)
            cpu = server.cpu_seconds() - before
        bench.forget_uploads()
        return megabytes / took, cpu / megabytes * 1e6
    how = (f"curl -H Expect: {'-T FILE' if is_upload else '-o /dev/null'} "
           f"{'https' if key else 'http'}://…{path}")
    rows = [Row(title, "MB/s", how, goal_ratio=goals.RATE), cpu_row(title, "ms/GB", how)]
    sides = ("ours", *(["unsynced"] if is_upload else []), "nginx", "lighttpd")
    return Measurement(rows, run, sides, rounds=3 if is_upload else None)


def many_transfers(bench):
    """One file for all, so that the disk has no part in it."""
    megabytes = 10
    path = f"/tedge/file-transfer/{megabytes}mb"

    def run(side):
        with bench.file(megabytes), bench.file_server(side) as server:
            found, cpu = rate(bench, server, path)
        return megabytes * found.per_second, cpu / megabytes
    title = f"GET of {megabytes} MB, 16 connections"
    how = f"wrk -t1 -c16 -d{bench.seconds}s http://…{path}"
    return Measurement([Row(title, "MB/s", how, goal_ratio=goals.RATE),
                        cpu_row(title, "ms/GB", how)], run, sides=("ours", "nginx", "lighttpd"))


def handshakes(bench, key, title):
    def run(side):
        with bench.file_server(side, key) as server:
            before = server.cpu_seconds()
            count, per_second = loads.handshakes(server.port, bench.seconds, bench.authority)
            return per_second, (server.cpu_seconds() - before) / count * 1e6
    how = f"two at once of openssl s_time -new -time {bench.seconds} -verify 1 -connect …"
    return Measurement([
        Row(f"TLS handshakes, {title}", "/s", how, goal_ratio=goals.HANDSHAKES[title]),
        cpu_row(f"TLS handshake, {title}", "µs", how)], run)


def proxied(bench, verb):
    def run(side):
        with bench.upstream() as upstream, bench.proxy(side, upstream) as server:
            found, cpu = rate(bench, server, "/c8y/inventory", post=verb == "POST")
        return found.per_second, cpu
    how = (f"wrk -t1 -c16 -d{bench.seconds}s {'-s post.lua ' if verb == 'POST' else ''}"
           "http://…/c8y/inventory")
    return Measurement([
        Row(f"proxied {verb} of 1 KB, TLS upstream", "/s", how, goal_ratio=goals.PROXIED),
        cpu_row(f"proxied {verb} of 1 KB", "µs", how)], run)


def added_time(bench):
    def run(side):
        with bench.upstream() as upstream, bench.proxy(side, upstream) as server:
            direct = rate(bench, upstream, "/inventory", connections=1)[0]
            through = rate(bench, server, "/c8y/inventory", connections=1)[0]
        return [late - early for late, early in zip(through.at, direct.at)]
    how = (f"wrk -t1 -c1 -d{bench.seconds}s, time through the proxy minus time without it; "
           "p99.9 has no target")
    return Measurement([
        less_is_better(f"time added by the proxy, p{which}", "µs", how, DELAY,
                       goal_ratio=None if which == 99.9 else 1.0)
        for which in loads.PERCENTILES], run)


def beside_stalled_clients(bench):
    """What they cost is against the same server before they came and after they left."""
    def run(side):
        with bench.file_server(side) as server:
            before = rate(bench, server, ONE)[0]
            with ExitStack() as stack:
                uploads = stack.enter_context(connections.held(
                    lambda number: connections.stalled_upload(
                        server, bench.authority, f"/tedge/file-transfer/up/{number}", 1_000_000),
                    STALLED))
                heads = stack.enter_context(connections.held(
                    lambda _: connections.slow_head(server, bench.authority, ONE), STALLED))
                stack.enter_context(connections.dripped_on(uploads + heads))
                beside = rate(bench, server, ONE)[0]
            after = rate(bench, server, ONE)[0]
        bench.forget_uploads()
        return ((before.per_second + after.per_second) / 2 / beside.per_second,
                2 * beside.at[1] / (before.at[1] + after.at[1]))
    title = f"GET of 1 KB beside {STALLED} stalled uploads and {STALLED} endless heads"
    how = f"wrk -t1 -c16 -d{bench.seconds}s with these clients, each sending 5 bytes/s, and without"
    return Measurement([
        less_is_better(f"{title}, {what} with / without them", "times", how, DELAY, goal=1.1)
        for what in ("time of one", "p99")], run, rounds=3)
