"""The goals of the project, each once: what ours may take at most, and how it compares at least.

MB and KB of files are decimal, MiB and KiB of memory are not.
"""

FIRST_ANSWER = 6  # ms from exec
RESIDENT = 3.5  # MiB at idle, of each program
PRIVATE = {"file transfer, TLS": 0.45, "proxy with MQTT": 0.55}  # MiB at idle
THREADS, MQTT_THREADS = 2, 2  # at idle; more with MQTT
POOL = {"file transfer": 4, "proxy": 8}  # more threads while there is work
IDLE_CONNECTION = {"plain": 4, "TLS": 12}  # KiB
TRANSFER = {"plain": 32, "TLS": 56}  # KiB for each PUT or GET under way
PEAK = {"file transfer": 16, "proxy": 9}  # MiB, 100 and 100 of 10 MB over TLS; 16 and 16 of 100 MB
GIVEN_BACK = 0.3  # MiB of private memory over that at idle, 5 s after these transfers

# MB: the programs as the packages contain them.
PROGRAM = {
    "armhf": {"tedge-file-transfer": 1.70, "tedge-c8y-proxy": 1.95},
    "arm64": {"tedge-file-transfer": 2.2, "tedge-c8y-proxy": 2.6},
    "amd64": {"tedge-file-transfer": 2.5, "tedge-c8y-proxy": 2.9},
}
INSTALLED = {"armhf": 3.9}  # MB of both packages

# As a multiple of nginx.
RATE = 1.0
HANDSHAKES = {"ECDSA P-256": 1.1, "RSA 2048": 0.95}
PROXIED = 0.9
