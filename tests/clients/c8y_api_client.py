"""c8y_api from PyPI: inventory, events, attachments, and a Notification 2.0 subscription."""
import io
import os
import sys
import threading

from c8y_api import CumulocityApi
from c8y_api.model import Device, Event, Subscription
from c8y_tk.notification2 import Listener
from requests.auth import HTTPBasicAuth


class NoLogin(HTTPBasicAuth):
    """The proxy adds the device's credentials, there are none to send."""

    def __call__(self, request):
        return request


base = sys.argv[1]
c8y = CumulocityApi(base_url=base, tenant_id="t12345", auth=NoLogin("nobody", "nothing"))
# It drops the path of the URL that it is given; these are the two places that want it.
c8y.base_url = base
c8y.notification2_tokens.host = base.split("://")[1]
device = Device(c8y, name="machine", type="c8y_Test").create()
assert device.id in [one.id for one in c8y.inventory.get_all()]
c8y.identity.create("ns=2;s=a b", "c8y_Serial", device.id)
assert c8y.identity.get_id("ns=2;s=a b", "c8y_Serial") == device.id

Subscription(c8y, name="s", context=Subscription.Context.MANAGED_OBJECT, source_id=device.id).create()
listener = Listener(c8y, subscription_name="s", auto_unsubscribe=False)
received, arrived = [], threading.Event()


def receive(message):
    received.append(message)
    arrived.set()


thread = threading.Thread(target=lambda: listener.listen(receive), daemon=True)
thread.start()
for _ in range(100):
    event = Event(c8y, type="t", text="hello", time="now", source=device.id).create()
    if arrived.wait(0.1):
        break
assert received, "no notification"
assert received[0].json["text"] == "hello"

content = os.urandom(300_000)
c8y.events.create_attachment(event.id, io.BytesIO(content), "x/y")
attached = c8y.events.download_attachment(event.id)
assert attached == content
device.delete()
print("done")
os._exit(0)
