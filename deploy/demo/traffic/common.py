"""What every mover uses: the addresses of the demo, a bounded rate, and packets that no socket would send."""

import math
import pathlib
import socket
import struct
import subprocess
import time

HERE = pathlib.Path(__file__).parent

SERVER = "127.64.0.1"
BALANCED = "127.64.1.1"  # rules.nft: two backends
MASQUERADED = "127.64.2.1"  # rules.nft: behind 128 ports
BLACKHOLE = "127.64.3.1"  # rules.nft: never answers
SHOP = "127.64.5.1"  # rules.nft: loses one segment in fifty
QUEUE = "127.64.5.2"  # a server that is too slow
MOODY = "127.64.6.1"  # a server that is there now and then
WEB, SLOW, SECURE, SINK, TFTP = 8080, 8025, 8443, 9, 69
EPHEMERAL = range(20_000, 60_000)


def say(line):
    print(f"traffic: {line}", flush=True)


def paced(rate):
    """Yields 0, 1, 2, … at `rate` a second, a tide of half and one and a half times every five minutes."""
    due = time.monotonic()
    number = 0
    while True:
        yield number
        number += 1
        tide = 1 + 0.5 * math.sin(2 * math.pi * time.time() / 300)
        due = max(due, time.monotonic() - 1) + 1 / (rate * tide)
        time.sleep(max(0, due - time.monotonic()))


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def icmp(kind, code, rest, payload=b""):
    body = struct.pack("!4s", rest) + payload
    value = checksum(struct.pack("!BBH", kind, code, 0) + body)
    return struct.pack("!BBH", kind, code, value) + body


def rules(name):
    return subprocess.run(["nft", "-f", HERE / name], check=False).returncode == 0
