#!/usr/bin/env python3
"""A cable between two networks that loses, delays, reorders, doubles, damages and resets.

usage: cable.py SEED    makes the devices `near` and `far` and says "ready"

It carries IPv4 between them, and reads from its standard input, a line each, what to do to the
packets from then on: `loss 0.2 delay 0.1 jitter 0.05 reorder 0.3 double 0.1 damage 0.01
reset 0.02`, all of them chances but the times, which are seconds. What a line does not name is not
done. It ends with its standard input. A kernel's netem does the same but for resets; not each
kernel has it, and this one begins anew from the same seed.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
FIN, SYN, RST, ACK = 1, 2, 4, 16


def device(name):
    """The end of a cable, a network device of its own."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


def checksum(data):
    """Of the Internet, RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def reset(packet):
    """A RST in place of a TCP packet that carries content; None of any other."""
    length = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != 6 or len(packet) <= length + 40:
        return None
    ip, tcp = bytearray(packet[:20]), bytearray(packet[length : length + 20])
    if tcp[13] & (SYN | RST | FIN):
        return None
    ip[0], ip[2:4], ip[10:12] = 0x45, struct.pack("!H", 40), b"\0\0"
    ip[10:12] = struct.pack("!H", checksum(bytes(ip)))
    tcp[12], tcp[13], tcp[16:20] = 0x50, RST | ACK, b"\0\0\0\0"
    pseudo = bytes(ip[12:20]) + struct.pack("!BBH", 0, 6, 20)
    tcp[16:18] = struct.pack("!H", checksum(pseudo + bytes(tcp)))
    return bytes(ip + tcp)


class Cable:
    """Two ends, what is on its way between them, and what befalls it."""

    def __init__(self, seed):
        self.ends = [device("near"), device("far")]
        self.random = random.Random(seed)
        self.plan = {}
        self.under_way = []
        self.number = 0

    def happens(self, what):
        """Whether a chance comes true."""
        chance = self.plan.get(what, 0)
        return chance > 0 and self.random.random() < chance

    def carry(self, packet, end):
        """Takes a packet on its way to an end."""
        if self.happens("loss"):
            return
        if self.happens("reset"):
            packet = reset(packet) or packet
        if self.happens("damage"):
            at = self.random.randrange(20, len(packet))
            packet = packet[:at] + bytes([packet[at] ^ 1 << self.random.randrange(8)]) + packet[at + 1 :]
        delay = self.plan.get("delay", 0) + self.random.random() * self.plan.get("jitter", 0)
        if self.happens("reorder"):
            delay = 0
        for _ in range(2 if self.happens("double") else 1):
            if delay > 0:
                self.number += 1
                due = time.monotonic() + delay
                heapq.heappush(self.under_way, (due, self.number, packet, end))
            else:
                self.deliver(packet, end)

    def deliver(self, packet, end):
        """Hands a packet over; an end that is down, or has no room, loses it."""
        try:
            os.write(self.ends[end], packet)
        except OSError:
            pass

    def run(self):
        """Carries until the standard input ends."""
        read = {self.ends[0]: 1, self.ends[1]: 0}
        while True:
            wait = None
            if self.under_way:
                wait = max(0, self.under_way[0][0] - time.monotonic())
            ready, _, _ = select.select([*read, 0], [], [], wait)
            while self.under_way and self.under_way[0][0] <= time.monotonic():
                _, _, packet, end = heapq.heappop(self.under_way)
                self.deliver(packet, end)
            for end in ready:
                if end == 0:
                    line = sys.stdin.buffer.raw.readline()
                    if not line:
                        return
                    words = line.decode().split()
                    self.plan = dict(zip(words[::2], map(float, words[1::2])))
                    continue
                for _ in range(64):
                    try:
                        packet = os.read(end, 65536)
                    except OSError:
                        break
                    self.carry(packet, read[end])


if __name__ == "__main__":
    cable = Cable(int(sys.argv[1]))
    print("ready", flush=True)
    cable.run()
