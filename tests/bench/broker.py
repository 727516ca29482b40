"""A real mosquitto, and a stand-in for Cumulocity that answers there with a token."""

import base64
import json
import os
import subprocess
import time
from contextlib import ExitStack, contextmanager

from server import Process, Server, free_port

ANSWER = """mosquitto_sub -h 127.0.0.1 -p {port} -q 1 -t c8y/s/uat -F asked | while read -r _; do
    mosquitto_pub -h 127.0.0.1 -p {port} -q 1 -t c8y/s/dat -m '71,{token}'
done"""


@contextmanager
def broker(directory):
    """The broker, once somebody answers there."""
    port = free_port()
    config = directory / "mosquitto.conf"
    config.write_text(("user root\n" if os.geteuid() == 0 else "") + f"""persistence false
log_dest stderr
listener {port} 127.0.0.1
allow_anonymous true
""")
    log = directory / "mosquitto.log"
    with ExitStack() as stack:
        server = stack.enter_context(Server(["mosquitto", "-c", config], port, log))
        stack.enter_context(Process(["sh", "-c", ANSWER.format(port=port, token=token())], log))
        for _ in range(5):
            ask = ["mosquitto_rr", "-h", "127.0.0.1", "-p", str(port), "-q", "1",
                   "-t", "c8y/s/uat", "-e", "c8y/s/dat", "-n", "-W", "2"]
            if subprocess.run(ask, capture_output=True, timeout=10).returncode == 0:
                break
        else:
            raise RuntimeError(f"nobody answers c8y/s/uat: {log.read_text()[-2000:]}")
        yield server


def token():
    """One that says how long it lives. Nobody checks who signed it."""
    def part(claims):
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    now = int(time.time())
    return ".".join([part({"alg": "none"}), part({"iat": now, "exp": now + 3600}), "none"])
