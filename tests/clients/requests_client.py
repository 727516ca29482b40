"""python requests: list objects, create an event, attach a binary to it and fetch that."""
import os
import sys

import requests

base = sys.argv[1]
objects = requests.get(f"{base}/inventory/managedObjects", params={"pageSize": 5})
objects.raise_for_status()
assert "managedObjects" in objects.json()

event = {"source": {"id": "1"}, "type": "t", "text": "Grüße", "time": "2024-05-06T07:08:09Z"}
created = requests.post(f"{base}/event/events", json=event)
assert created.status_code == 201, created.text
assert created.json()["text"] == "Grüße"

content = os.urandom(3_000_000)
at = f"{base}/event/events/{created.json()['id']}/binaries"
attached = requests.post(at, files={"object": (None, "{}"), "file": ("a.bin", content, "x/y")})
assert attached.status_code == 201, attached.text
fetched = requests.get(at)
assert fetched.content == content
assert fetched.headers["Content-Type"] == "x/y"


def pieces():
    for start in range(0, len(content), 100_000):
        yield content[start:start + 100_000]


chunked = requests.post(at, data=pieces(), headers={"Content-Type": "a/b"})
assert chunked.status_code == 201, chunked.text
with requests.get(at, stream=True) as streamed:
    assert b"".join(streamed.iter_content(65536)) == content

with requests.Session() as session:
    for _ in range(20):
        assert session.head(f"{base}/tenant/currentTenant").status_code == 200
print("done")
