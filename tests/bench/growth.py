"""What must not grow with the files in a directory, with connections, or with a file's size."""

import os

import connections
import loads
from rows import GROWTH, Measurement, Row, less_is_better
from speed import ONE, rate

ROUNDS = 3
IDLE = 1000
FILES = {"thousand": 1000, "many": 100_000}


def make_files(bench):
    for directory, count in FILES.items():
        path = bench.files / directory
        path.mkdir()
        (path / "1k").write_bytes(os.urandom(1024))
        for number in range(count - 1):
            os.close(os.open(path / f"file-{number}", os.O_CREAT | os.O_WRONLY, 0o644))


def measurements(bench):
    base = small_gets(bench, "the only file")
    yield base
    for directory, count in FILES.items():
        yield small_gets(bench, f"among {count:,} files", directory, base=base.rows[0].title)
    yield small_gets(bench, f"beside {IDLE:,} idle connections", idle=IDLE,
                     base=base.rows[0].title)
    one = small_gets(bench, "1 connection", count=1)
    yield one
    for count in 8, 64, 512:
        yield small_gets(bench, f"{count} connections", count=count, base=one.rows[0].title,
                         is_flat=False)
    yield sizes(bench)


def small_gets(bench, title, directory="one", count=16, idle=0, base=None, is_flat=True):
    path = f"/tedge/file-transfer/{directory}/1k"

    def run(side):
        with bench.file_server(side) as server:
            def begin(_):
                return connections.idle(server, bench.authority, path)
            with connections.held(begin, idle):
                return [rate(bench, server, path, count)[0].per_second]
    how = f"wrk -t1 -c{count} -d{bench.seconds}s http://…{path}"
    return Measurement([
        Row(f"GET of 1 KB, {title}", "/s", how, group=GROWTH, compared_to=base,
            is_flat=base is not None and is_flat)], run, rounds=ROUNDS)


def sizes(bench):
    """Files from 1 MB to the largest through one server; the first goes before the clock starts."""
    steps = [step for step in (1, 10, 100) if step < bench.size] + [bench.size]
    how = "curl as for 1,000 MB, plain; VmHWM in /proc/PID/status, reset before the GET and the PUT"
    rows = []
    for step in steps:
        rows += [less_is_better(f"time of a {verb} of {step:,} MB", "ms", how, GROWTH)
                 for verb in ("GET", "PUT")]
        rows.append(less_is_better(f"GET and PUT of {step:,} MB, peak", "MiB", how, GROWTH))
    rows.append(less_is_better(f"peak with {steps[-1]:,} MB, minus that with 1 MB", "MiB", how,
                               GROWTH, goal=1))

    def run(side):
        values = []
        with bench.file_server(side) as server:
            there_and_back(bench, server, 1)
            for step in steps:
                server.forget_peak()
                values += [*there_and_back(bench, server, step), server.peak() / 2**20]
        return [*values, values[-1] - values[2]]
    return Measurement(rows, run, sides=("ours", "unsynced", "nginx"), rounds=2)


def there_and_back(bench, server, megabytes):
    with bench.file(megabytes) as file:
        down = loads.curl(server.url(f"/tedge/file-transfer/{file.name}"), bench.authority)
        up = loads.curl(server.url("/tedge/file-transfer/up/file"), bench.authority, "-T", file)
    bench.forget_uploads()
    return down * 1e3, up * 1e3
