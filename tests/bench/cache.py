"""The proxy's cache beside nginx's `proxy_cache`: what is served from it, and what it costs
everything else."""

import goals
import loads
from rows import DELAY, Measurement, Row, cpu_row, less_is_better
from servers import write_file
from speed import rate

LARGE, MANY = 200, 10  # MB


def make_files(bench):
    write_file(bench.cloud / "large", LARGE)
    write_file(bench.cloud / "many", MANY)


def measurements(bench):
    for slices in False, True:
        yield hit(bench, slices)
        yield hits(bench, slices)
    yield beside(bench)


def cached(bench, side, cloud, slices):
    return bench.proxy(side, cloud, cache=True, slices=slices)


def hit(bench, slices):
    """One large file that is there already. The first download fills the cache."""
    title = f"GET of {LARGE} MB from the cache{sliced(slices)}"

    def run(side):
        with bench.binaries() as cloud, cached(bench, side, cloud, slices) as server:
            url = server.url("/c8y/inventory/binaries/large")
            loads.curl(url, bench.authority)
            before = server.cpu_seconds()
            took = min(loads.curl(url, bench.authority) for _ in range(3))
            cpu = (server.cpu_seconds() - before) / 3
        return LARGE / took, cpu / LARGE * 1e6
    how = ("curl -o /dev/null http://…/c8y/inventory/binaries/large, the best of 3 after a first "
           "that fills the cache")
    return Measurement([Row(title, "MB/s", how, goal_ratio=goals.RATE),
                        cpu_row(title, "ms/GB", how)], run)


def hits(bench, slices):
    """Ours asks the cloud about each, nginx about none."""
    title = f"GET of {MANY} MB from the cache, 16 connections{sliced(slices)}"

    def run(side):
        with bench.binaries() as cloud, cached(bench, side, cloud, slices) as server:
            path = "/c8y/inventory/binaries/many"
            loads.curl(server.url(path), bench.authority)
            found, _ = rate(bench, server, path)
        return [found.per_second * MANY]
    how = f"wrk -t1 -c16 -d{bench.seconds}s http://…/c8y/inventory/binaries/many"
    return Measurement([Row(title, "MB/s", how, goal_ratio=goals.RATE)], run)


def sliced(slices):
    return ", nginx with slice 1m" if slices else ""


def beside(bench):
    """What is not kept, with a cache and without one, in turn."""
    def run(_):
        found = {True: [], False: []}
        with bench.upstream() as upstream:
            for has_cache in False, True, True, False:
                with bench.proxy("ours", upstream, cache=has_cache) as server:
                    found[has_cache].append(rate(bench, server, "/c8y/inventory")[0].per_second)
        return [sum(found[False]) / sum(found[True])]
    how = f"wrk -t1 -c16 -d{bench.seconds}s http://…/c8y/inventory, twice with and twice without"
    title = "proxied GET of 1 KB, time with a cache / without"
    return Measurement([less_is_better(title, "times", how, DELAY, goal=1.02)], run,
                       sides=("ours",))
