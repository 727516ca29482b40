"""A program under measurement: started, waited for, looked at in /proc, and stopped for certain.

What it is told to serve is servers.py's business, what is sent to it that of loads.py and
connections.py.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path


class Process:
    """A running program with its children, all of them ended when its `with` block ends."""

    def __init__(self, command, log):
        self.started = time.monotonic()
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True)
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Server(Process):
    """One that listens on a port, of loopback unless it has another address."""

    def __init__(self, command, port, log, scheme="http", identity=None, address="127.0.0.1"):
        self.port, self.scheme, self.address = port, scheme, address
        self.identity = identity  # the client certificate that it asks for: (certificate, key)
        super().__init__(command, log)

    def __enter__(self):
        try:
            self.wait_until_it_accepts()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_it_accepts(self):
        while True:
            try:
                socket.create_connection((self.address, self.port), timeout=5).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() - self.started > 10:
                    said = Path(self.log).read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.process.args[0]} does not serve:\n{said}") from None
                time.sleep(0.0002)

    def url(self, path):
        return f"{self.scheme}://localhost:{self.port}{path}"

    def pids(self):
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_seconds(self):
        """User and system time of all its processes so far, see proc_pid_stat(5)."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def threads(self):
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.pids())

    def memory(self):
        """Resident bytes of all its processes, and those of them that are theirs alone and written.

        Private pages that are clean (the program's own text) can be dropped at any time, and count
        as private or not by what else is running.
        """
        return self.sum_of("smaps_rollup", "Rss"), self.sum_of("smaps_rollup", "Private_Dirty")

    def settled_memory(self):
        """As `memory`, once it has stood still for 1.5 s, or after 8 s."""
        begin = still = time.monotonic()
        last = self.memory()
        while time.monotonic() - still < 1.5 and time.monotonic() - begin < 8:
            time.sleep(0.1)
            now = self.memory()
            if now != last:
                last, still = now, time.monotonic()
        return last

    def forget_peak(self):
        """From now on `peak` is that of what follows, see proc_pid_clear_refs(5)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """The most bytes that were resident."""
        return self.sum_of("status", "VmHWM")

    def sum_of(self, file, name):
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
                if line.startswith(name + ":"):
                    total += int(line.split()[1]) * 1024
        return total


def end_children():
    """Ends what is still there when the run is over: an interrupt may fall between a start and the
    `with` block that would have ended it."""
    for task in os.listdir("/proc/self/task"):
        for pid in map(int, Path(f"/proc/self/task/{task}/children").read_text().split()):
            try:
                # A program of ours is the leader of its own group, a tool is in this one.
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
