"""Memory, threads and sizes: at rest, held, at the peak, and after it."""

import re
import time
from contextlib import contextmanager

import connections
import goals
import loads
from rows import GROWTH, MEMORY, SIZE, Measurement, Row, less_is_better
from speed import ONE

PROXIED = "/c8y/inventory"
TOGETHER = 100  # transfers under way while they are held, and each way at the peak
AT_REST = "Rss, Private_Dirty in /proc/PID/smaps_rollup, at idle after one answer"


def measurements(bench):
    yield at_rest(bench, "file transfer, TLS", file_server(bench), ONE)
    yield at_rest(bench, "file transfer, mutual TLS, all public CAs",
                  file_server(bench, mutual=True), ONE)
    yield at_rest(bench, "proxy without MQTT", proxy(bench), PROXIED)
    yield at_rest(bench, "proxy with MQTT", proxy(bench, mqtt=True), PROXIED)
    for key, title in (None, "plain"), ("ecdsa", "TLS"):
        yield idle_connections(bench, title, key)
        yield under_way(bench, title, key)
    yield burst(bench)
    yield proxied_burst(bench)


def file_server(bench, mutual=False):
    return lambda side: bench.file_server(side, "ecdsa", mutual)


def proxy(bench, mqtt=False):
    @contextmanager
    def start(side):
        with bench.upstream() as upstream:
            if not mqtt:
                with bench.proxy(side, upstream) as server:
                    yield server
                return
            with bench.broker() as broker, bench.proxy(side, upstream, broker) as server:
                yield server
    return start


def at_rest(bench, title, start, path):
    has_broker = title.endswith("with MQTT")
    threads = goals.THREADS + (goals.MQTT_THREADS if has_broker else 0)

    def run(side):
        connections.context(bench.authority, bench.identity())  # not on the clock
        connections.context(bench.authority)
        with start(side) as server:
            first = connections.first_answer(server, path, bench.authority)
            resident, private = server.settled_memory()
            values = [resident / 2**20, private / 2**20, server.threads()]
        return values if has_broker else [first * 1e3, *values]
    rows = [] if has_broker else [less_is_better(
        f"{title}, exec to first answer", "ms", "a socket in a loop", MEMORY,
        goal=goals.FIRST_ANSWER)]
    rows += [less_is_better(f"{title}, {what}", unit, AT_REST, MEMORY, goal=goal)
             for what, unit, goal in (
                 ("resident", "MiB", goals.RESIDENT),
                 ("private and written", "MiB", goals.PRIVATE.get(title)),
                 ("threads", "", threads))]
    return Measurement(rows, run, ("ours",) if has_broker else ("ours", "nginx"), rounds=2)


def idle_connections(bench, title, key):
    """The second half of a thousand, to see that no connection takes more than the one before."""
    half = 500

    def run(side):
        with bench.file_server(side, key) as server:
            def begin(_):
                return connections.idle(server, bench.authority, ONE)
            begin(0).close()
            none = server.settled_memory()[1]
            with connections.held(begin, half):
                some = server.settled_memory()[1]
                with connections.held(begin, half):
                    many = server.settled_memory()[1]
        return (many - none) / 2 / half / 1024, (many - some) / half / 1024
    how = f"Private_Dirty with {2 * half} keep-alive connections minus that with none"
    return Measurement([
        less_is_better(f"an idle connection, {title}", "KiB", how, MEMORY,
                       goal=goals.IDLE_CONNECTION[title]),
        less_is_better(f"an idle connection, {title}, of the second {half}", "KiB", how, GROWTH,
                       compared_to=f"an idle connection, {title}", is_flat=True)],
        run, rounds=1)


def under_way(bench, title, key):
    def run(side):
        with bench.file_server(side, key) as server:
            up = each(server, lambda number: connections.stalled_upload(
                server, bench.authority, f"/tedge/file-transfer/up/{number}", 10_000_000))
            bench.forget_uploads()
            down = each(server, lambda _: connections.stalled_download(
                server, bench.authority, "/tedge/file-transfer/big"))
        return up, down
    how = (f"Private_Dirty with {10 + TOGETHER} minus that with 10, all stalled: PUTs after 1 MB, "
           "GETs after the head")
    return Measurement([
        less_is_better(f"{what} under way, {title}", "KiB", how, MEMORY,
                       goal=goals.TRANSFER[title])
        for what in ("a PUT", "a GET")], run, rounds=1)


def each(server, begin):
    """KiB for one of them: the first ten bring things into memory that stay."""
    with connections.held(begin, 10):
        few = server.settled_memory()[1]
        with connections.held(lambda number: begin(10 + number), TOGETHER):
            many = server.settled_memory()[1]
    return (many - few) / TOGETHER / 1024


def burst(bench):
    def run(side):
        with bench.file(10) as file, bench.file_server(side, "ecdsa") as server:
            path = f"/tedge/file-transfer/{file.name}"
            connections.idle(server, bench.authority, ONE).close()
            before = server.settled_memory()[1]
            server.forget_peak()
            threads = loads.burst(server, bench.authority, TOGETHER, "/tedge/file-transfer/up/f",
                                  path, file)
            peak = server.peak()
            time.sleep(5)
            after = server.memory()[1]
        bench.forget_uploads()
        return peak / 2**20, (after - before) / 2**20, threads
    title = f"{TOGETHER} PUTs and {TOGETHER} GETs of 10 MB at once, TLS"
    how = "two of curl --parallel --parallel-immediate; VmHWM, Private_Dirty, /proc/PID/task"
    return Measurement([
        less_is_better(f"{title}, peak", "MiB", how, MEMORY,
                       goal=goals.PEAK["file transfer"]),
        less_is_better(f"{title}, private memory 5 s later, minus that before", "MiB", how, MEMORY,
                       goal=goals.GIVEN_BACK),
        less_is_better(f"{title}, threads", "", how, MEMORY,
                       goal=goals.THREADS + goals.POOL["file transfer"])], run, rounds=1)


def proxied_burst(bench):
    megabytes, count = min(100, bench.size // 5), 16

    def run(side):
        with bench.file(megabytes, bench.cloud) as file, \
                proxy(bench, mqtt=side == "ours")(side) as server:
            connections.idle(server, bench.authority, PROXIED).close()
            server.settled_memory()
            server.forget_peak()
            threads = loads.burst(server, bench.authority, count, "/c8y/up/file",
                                  f"/c8y/down/{file.name}", file)
            peak = server.peak()
        bench.forget_uploads()
        return peak / 2**20, threads
    title = f"{count} PUTs and {count} GETs of {megabytes} MB at once through the proxy"
    how = "two of curl --parallel --parallel-immediate; VmHWM, /proc/PID/task"
    return Measurement([
        less_is_better(f"{title}, peak", "MiB", how, MEMORY, goal=goals.PEAK["proxy"]),
        less_is_better(f"{title}, threads", "", how, MEMORY,
                       goal=goals.THREADS + goals.MQTT_THREADS + goals.POOL["proxy"])],
        run, rounds=1)


def sizes(bench, packages):
    """Rows with their values. The goals are those of the packages, which are built by another
    compiler; without packages, the programs that were measured are listed without a goal."""
    found = False
    for architecture in goals.PROGRAM:
        files = sorted(packages.glob(f"tedge-*_{architecture}.deb"))
        if len(files) != 2:
            continue
        found = True
        for file in files:
            listed = re.search(r"(\d+) \S+ \S+ \S*/usr/bin/(tedge-\S+)$",
                               loads.run(["dpkg-deb", "-c", str(file)], 20), re.M)
            yield size(f"{listed[2]} of the package, {architecture}", "dpkg-deb -c PACKAGE",
                       int(listed[1]), goals.PROGRAM[architecture][listed[2]])
        title = f"both packages, {architecture}"
        yield size(f"{title}, download", "stat PACKAGE",
                   sum(file.stat().st_size for file in files))
        installed = sum(int(loads.run(["dpkg-deb", "-f", str(file), "Installed-Size"], 20))
                        for file in files) * 1024
        yield size(f"{title}, installed", "dpkg-deb -f PACKAGE Installed-Size", installed,
                   goals.INSTALLED.get(architecture))
    for program in () if found else goals.PROGRAM["amd64"]:
        yield size(f"{program} as measured here, not that of the package", "stat PROGRAM",
                   (bench.programs / program).stat().st_size)


def size(title, how, size, goal=None):
    return Row(title, "MB", how, more_is_better=False, goal=goal, group=SIZE,
               values={"ours": [size / 1e6]})
