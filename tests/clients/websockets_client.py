"""python websockets: echo of small and big messages, a subprotocol, and notifications."""
import asyncio
import sys

import requests
import websockets

base = sys.argv[1]
socket = base.replace("http", "ws", 1)


async def main():
    at = f"{socket}/service/echo/x?a=b"
    async with websockets.connect(at, subprotocols=["v12.stomp"], max_size=None) as echo:
        assert echo.subprotocol == "v12.stomp"
        for message in ["hello", "Grüße", b"\0\1\2", "x" * 1_000_000]:
            await echo.send(message)
            assert await echo.recv() == message
        await (await echo.ping())
    token = requests.post(f"{base}/notification2/token", json={"subscription": "s"}).json()["token"]
    at = f"{socket}/notification2/consumer/?token={token}"
    async with websockets.connect(at) as consumer:
        event = {"source": {"id": "1"}, "type": "t", "text": "hi"}
        requests.post(f"{base}/event/events", json=event).raise_for_status()
        message = (await consumer.recv()).splitlines()
        assert message[2] == "CREATE", message
        await consumer.send(message[0])
    try:
        await websockets.connect(f"{socket}/notification2/consumer/?token=wrong")
        raise AssertionError("a wrong token was accepted")
    except websockets.exceptions.InvalidStatus as refusal:
        assert refusal.response.status_code == 403, refusal


asyncio.run(main())
print("done")
