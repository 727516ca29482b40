"""Starts ours and nginx alike: same files, same certificates, on loopback, one at a time.

Each is started for one measurement and stopped after it, so that nothing carries over. What is
sent to them is loads.py's business.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

USER, PASSWORD = "t1/device_bench", "bench"
# More than the 1000 idle connections that are opened; our default is 128.
CONNECTIONS = 1200


class Server:
    """A running program with its children, stopped when its `with` block ends."""

    def __init__(self, command, port, log, scheme="http"):
        self.port, self.scheme = port, scheme
        self.started = time.monotonic()
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True)
        self.log = log

    def __enter__(self):
        try:
            self.wait_until_it_accepts()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_it_accepts(self):
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() - self.started > 10:
                    said = Path(self.log).read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.process.args[0]} does not serve:\n{said}") from None
                time.sleep(0.0002)

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

    def memory(self):
        """Resident bytes of all its processes, and those of them that are theirs alone and written.

        Private pages that are clean (the program's own text) can be dropped at any time, and count
        as private or not by what else is running.
        """
        resident = private = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Rss":
                    resident += int(rest.split()[0]) * 1024
                elif name == "Private_Dirty":
                    private += int(rest.split()[0]) * 1024
        return resident, private


class Bench:
    """The directory of one run: certificates, files, and the configurations of both sides."""

    def __init__(self, directory, programs):
        self.directory, self.programs = Path(directory), Path(programs)
        self.files = self.directory / "data/file-transfer"
        self.files.mkdir(parents=True)
        self.certificates()

    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", *arguments],
                           cwd=self.directory, check=True, capture_output=True, timeout=30)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        leaf = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-addext", "basicConstraints=critical,CA:FALSE"]
        openssl(*ec, "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem")
        openssl(*ec, *leaf, "-keyout", "ecdsa.key", "-out", "ecdsa.pem")
        openssl("-newkey", "rsa:2048", *leaf, "-keyout", "rsa.key", "-out", "rsa.pem")

    def file_server(self, side, key=None):
        """The File Transfer Service ("ours", or "unsynced") or nginx; TLS with "ecdsa" or "rsa"."""
        if side == "nginx":
            return self.nginx("files", key, f"""location /tedge/file-transfer/ {{
                alias {self.files}/; dav_methods PUT DELETE; create_full_put_path on; }}""")
        tls = ""
        if key:
            pair = self.directory / key
            tls = f'cert_path = "{pair}.pem"\nkey_path = "{pair}.key"'
        port = free_port()
        return self.ours("tedge-file-transfer", port, "https" if key else "http", f"""
[data]
path = "{self.files.parent}"
[http]
{tls}
bind.port = {port}
""", f"""
[http]
connections.max = {CONNECTIONS}
upload.sync = {"false" if side == "unsynced" else "true"}
""")

    def proxy(self, side, upstream):
        """The Cumulocity Proxy, or nginx with kept-alive connections to the same upstream."""
        if side == "nginx":
            return self.nginx("proxy", None, f"""location /c8y/ {{
                proxy_pass https://cloud/; proxy_http_version 1.1;
                proxy_set_header Connection ""; proxy_set_header Host localhost:{upstream.port};
                proxy_set_header Authorization "Basic dDEvZGV2aWNlX2JlbmNoOmJlbmNo";
                proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.directory}/ca.pem;
                proxy_ssl_name localhost; proxy_ssl_server_name on; }}""",
                f"""upstream cloud {{ server 127.0.0.1:{upstream.port};
                keepalive 64; keepalive_requests 1000000000; }}""")
        port = free_port()
        return self.ours("tedge-c8y-proxy", port, "http", f"""
[c8y]
http = "localhost:{upstream.port}"
root_cert_path = "{self.directory}/ca.pem"
auth_method = "basic"
proxy.bind.port = {port}
""", f"[c8y.proxy]\nconnections.max = {CONNECTIONS}\n")

    def upstream(self):
        """A cloud that says the same 1 KB to every request, over TLS: nginx, for both sides."""
        return self.nginx("upstream", "ecdsa", f"""location / {{
            default_type application/json; return 200 '{{"text":"{"x" * 1013}"}}'; }}""")

    def ours(self, program, port, scheme, settings, own_settings):
        config = self.directory / program
        config.mkdir(exist_ok=True)
        (config / "tedge.toml").write_text(settings)
        (config / "tedge-http.toml").write_text(own_settings)
        credentials = config / "credentials.toml"
        credentials.write_text(f'[c8y]\nusername = "{USER}"\npassword = "{PASSWORD}"\n')
        credentials.chmod(0o600)
        command = [self.programs / program, "--config-dir", config]
        return Server(command, port, config / "log", scheme)

    def nginx(self, name, key, location, before=""):
        config = self.directory / f"nginx-{name}"
        config.mkdir(exist_ok=True)
        port = free_port()
        tls = ""
        if key:
            tls = (f"ssl_certificate {self.directory}/{key}.pem; "
                   f"ssl_certificate_key {self.directory}/{key}.key;")
        temporary = "\n    ".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        # Debian's own sendfile and tcp_nopush; no access log, since ours writes none either;
        # the groups that rustls has with ring, so that both do the same key exchange.
        (config / "nginx.conf").write_text(f"""
daemon off;
worker_processes 1;
{"user root;" if os.geteuid() == 0 else ""}
pid {config}/pid;
error_log {config}/log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    {temporary}
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    {before}
    server {{
        listen 127.0.0.1:{port}{" ssl" if key else ""};
        {tls}
        {location}
    }}
}}
""")
        command = ["nginx", "-e", config / "log", "-c", config / "nginx.conf"]
        return Server(command, port, config / "log", "https" if key else "http")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
