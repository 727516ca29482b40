"""Configures ours, nginx and lighttpd alike: same files, same certificates, on loopback.

Each is started for one measurement and stopped after it, so that nothing carries over.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import broker
from server import Server, free_port

USER, PASSWORD = "t1/device_bench", "bench"
# More than the 1000 idle connections that are opened; our defaults are 128 and 64.
CONNECTIONS = 1200
MB = 1000 * 1000


class Bench:
    """The directory of one run: certificates, files, and the configurations of all sides.

    `seconds` is how long a rate is measured, `size` the largest file in MB.
    """

    def __init__(self, directory, programs, seconds, size):
        self.directory, self.programs = Path(directory), Path(programs)
        self.seconds, self.size = seconds, size
        self.authority = self.directory / "ca.pem"
        self.files = self.directory / "data/file-transfer"
        self.files.mkdir(parents=True)
        self.cloud = self.directory / "cloud"
        self.cloud.mkdir()
        self.forget_uploads()
        self.certificates()

    def certificates(self):
        def openssl(*arguments):
            subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", *arguments],
                           cwd=self.directory, check=True, capture_output=True, timeout=30)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        leaf = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:192.0.2.2",
                "-addext", "basicConstraints=critical,CA:FALSE"]
        openssl(*ec, "-subj", "/CN=bench", "-keyout", "ca.key", "-out", "ca.pem")
        openssl(*ec, *leaf, "-keyout", "ecdsa.key", "-out", "ecdsa.pem")
        openssl("-newkey", "rsa:2048", *leaf, "-keyout", "rsa.key", "-out", "rsa.pem")
        # Every public authority and the one above, as a device has them.
        public = Path("/etc/ssl/certs/ca-certificates.crt").read_bytes()
        (self.directory / "authorities").mkdir()
        (self.directory / "authorities/all.pem").write_bytes(public + self.authority.read_bytes())

    @contextmanager
    def file(self, megabytes, directory=None):
        """A file of that size for as long as the block lasts, on the disk before it begins."""
        path = (directory or self.files) / f"{megabytes}mb"
        if megabytes == self.size:
            os.link(self.files / "big", path)
        else:
            write_file(path, megabytes)
        try:
            yield path
        finally:
            path.unlink()

    def forget_uploads(self):
        """Takes away what was uploaded, and with it the pages that are not on the disk yet."""
        for directory in self.files / "up", self.cloud / "up":
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()  # lighttpd makes none

    def file_server(self, side, key=None, mutual=False):
        """The File Transfer Service ("ours", or "unsynced"), nginx or lighttpd; TLS with "ecdsa"
        or "rsa"; `mutual` asks for a certificate of a client."""
        if side == "nginx":
            verify = f"ssl_client_certificate {self.directory}/authorities/all.pem; " \
                     "ssl_verify_client on;" if mutual else ""
            return self.nginx("files", key, f"""{verify} location /tedge/file-transfer/ {{
                alias {self.files}/; dav_methods PUT DELETE; create_full_put_path on; }}""",
                identity=self.identity() if mutual else None)
        if side == "lighttpd":
            return self.lighttpd(key)
        tls = ""
        if key:
            pair = self.directory / key
            tls = f'cert_path = "{pair}.pem"\nkey_path = "{pair}.key"'
        if mutual:
            tls += f'\nca_path = "{self.directory}/authorities"'
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
""", self.identity() if mutual else None)

    def identity(self):
        return self.directory / "ecdsa.pem", self.directory / "ecdsa.key"

    def proxy(self, side, upstream, token_from=None, cache=False, slices=False):
        """The Cumulocity Proxy, with the tokens of a broker or else with user and password; or
        nginx with kept-alive connections to the same upstream. With `cache` binaries are kept, by
        nginx in slices if it is to."""
        if side == "nginx":
            kept, keeping = self.nginx_cache(slices) if cache else ("", "")
            return self.nginx("proxy", None, f"""location /c8y/ {{
                {keeping}
                proxy_pass https://cloud/; proxy_http_version 1.1;
                proxy_set_header Connection ""; proxy_set_header Host localhost:{upstream.port};
                proxy_set_header Authorization "Basic dDEvZGV2aWNlX2JlbmNoOmJlbmNo";
                proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.directory}/ca.pem;
                proxy_ssl_name localhost; proxy_ssl_server_name on; }}""",
                f"""{kept} upstream cloud {{ server {upstream.address}:{upstream.port};
                keepalive 64; keepalive_requests 1000000000; }}""")
        port = free_port()
        keep = f"""cache.max_size = "20G"
cache.path = "{self.emptied("cache")}"
""" if cache else ""
        credentials = f"[mqtt]\nclient.port = {token_from.port}" if token_from else ""
        return self.ours("tedge-c8y-proxy", port, "http", f"""
[c8y]
http = "{"localhost" if upstream.address == "127.0.0.1" else upstream.address}:{upstream.port}"
root_cert_path = "{self.directory}/ca.pem"
auth_method = "{"certificate" if token_from else "basic"}"
proxy.bind.port = {port}
{credentials}
""", f"[c8y.proxy]\nconnections.max = {CONNECTIONS}\n{keep}")

    def nginx_cache(self, slices):
        """Where nginx keeps answers, and which."""
        directory = self.emptied("nginx-cache")
        slice_1m = "slice 1m; proxy_set_header Range $slice_range;" if slices else ""
        key = "$uri$slice_range" if slices else "$uri"
        return (f"proxy_cache_path {directory} levels=1:2 keys_zone=kept:10m max_size=20g "
                "inactive=1h use_temp_path=off;",
                f"proxy_cache kept; proxy_cache_key {key}; proxy_cache_valid 200 206 1h; "
                f"proxy_cache_lock on; {slice_1m}")

    def emptied(self, name):
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        return directory

    def binaries(self, address="127.0.0.1", wrapper=()):
        """A cloud over TLS with binaries, each with an entity tag: nginx, for both sides."""
        return self.nginx("binaries", "ecdsa", f"""location /inventory/binaries/ {{
            alias {self.cloud}/; }}""", address=address, wrapper=wrapper)

    def upstream(self):
        """A cloud over TLS that says the same 1 KB to every request, and keeps files below /up: it
        is nginx, for both sides."""
        return self.nginx("upstream", "ecdsa", f"""location / {{
            default_type application/json; return 200 '{{"text":"{"x" * 1013}"}}'; }}
            location /up/ {{ root {self.cloud}; dav_methods PUT; create_full_put_path on; }}
            location /down/ {{ alias {self.cloud}/; }}""")

    def broker(self):
        """mosquitto, and who answers with a token there."""
        return broker.broker(self.directory)

    def ours(self, program, port, scheme, settings, own_settings, identity=None):
        config = self.directory / program
        config.mkdir(exist_ok=True)
        (config / "tedge.toml").write_text(settings)
        (config / "tedge-http.toml").write_text(own_settings)
        credentials = config / "credentials.toml"
        credentials.write_text(f'[c8y]\nusername = "{USER}"\npassword = "{PASSWORD}"\n')
        credentials.chmod(0o600)
        command = [self.programs / program, "--config-dir", config]
        return Server(command, port, config / "log", scheme, identity)

    def nginx(self, name, key, location, before="", identity=None, address="127.0.0.1",
              wrapper=()):
        config = self.directory / f"nginx-{name}"
        config.mkdir(exist_ok=True)
        port = free_port()
        tls = ""
        if key:
            tls = (f"ssl_certificate {self.directory}/{key}.pem; "
                   f"ssl_certificate_key {self.directory}/{key}.key;")
        temporary = "\n    ".join(f"{kind}_temp_path {config}/{kind};" for kind in (
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
        listen {address}:{port}{" ssl" if key else ""};
        {tls}
        {location}
    }}
}}
""")
        command = [*wrapper, "nginx", "-e", config / "log", "-c", config / "nginx.conf"]
        return Server(command, port, config / "log", "https" if key else "http", identity, address)

    def lighttpd(self, key):
        config = self.directory / "lighttpd"
        config.mkdir(exist_ok=True)
        port = free_port()
        tls = ""
        if key:
            tls = f"""server.modules += ("mod_openssl")
ssl.engine = "enable"
ssl.pemfile = "{self.directory}/{key}.pem"
ssl.privkey = "{self.directory}/{key}.key"
ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2", "Groups" => "X25519:P-256:P-384")"""
        # mod_webdav serves no request without a decision on its locks' database: it has none.
        (config / "lighttpd.conf").write_text(f"""
server.modules = ("mod_alias", "mod_webdav")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{config}"
server.errorlog = "{config}/log"
server.upload-dirs = ("{config}")
server.max-fds = 4096
server.max-keep-alive-requests = 1000000000
alias.url = ("/tedge/file-transfer/" => "{self.files}/")
webdav.activate = "enable"
webdav.is-readonly = "disable"
{tls}
""")
        command = ["lighttpd", "-D", "-f", config / "lighttpd.conf"]
        return Server(command, port, config / "log", "https" if key else "http")


def write_file(path, megabytes):
    with open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MB))
        os.fsync(file.fileno())
