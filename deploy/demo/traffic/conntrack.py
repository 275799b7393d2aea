"""Movers of the connection tracking counters, and the servers they talk to."""

import contextlib
import mmap
import os
import socket
import struct
import subprocess
import threading
import time

from common import BALANCED, BLACKHOLE, EPHEMERAL, MASQUERADED, SERVER, SINK, TFTP, WEB
from common import checksum, icmp, paced, rules, say, udp


def serve():
    """The other ends: a web server, a TFTP server and a sink, all for the movers below."""

    def swallow():
        with udp() as sink:
            sink.bind((SERVER, SINK))
            while True:
                sink.recv(2048)

    def tftp():
        with udp() as server:
            server.bind((SERVER, TFTP))
            while True:
                _, client = server.recvfrom(2048)
                with udp() as data:  # from a port of its own, which is what the helper expects
                    data.bind((SERVER, 0))
                    data.sendto(b"\0\3\0\1hello", client)

    threading.Thread(target=swallow, daemon=True).start()
    threading.Thread(target=tftp, daemon=True).start()
    with socket.create_server((SERVER, WEB), backlog=256) as web:
        while True:
            connection, _ = web.accept()
            with connection, contextlib.suppress(ConnectionError):  # who hangs up does not end it
                connection.recv(2048)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")


def connections():
    """table.usage: TCP connections that come and go, each in the table for its two minutes of TIME_WAIT."""
    for _ in paced(15):
        with socket.create_connection((SERVER, WEB), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while connection.recv(2048):
                pass


def datagrams():
    """table.usage: UDP without an answer, each in the table for half a minute."""
    for _ in paced(20):
        with udp() as client:
            client.sendto(b"x", (SERVER, SINK))


def retransmits():
    """Connections to a server that never answers: the SYN is retransmitted, the entry stays in SYN_SENT."""
    for _ in paced(0.5):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((BLACKHOLE, WEB))
        time.sleep(1.5)
        client.close()


def invalid():
    """invalid: TCP segments with SYN, FIN and RST at once."""
    segment = struct.pack("!HHIIBBHHH", 1, 2, 1, 0, 0x50, 0x07, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        for _ in paced(5):
            raw.sendto(segment, (SERVER, 0))


def errors():
    """error: ICMP "port unreachable" about connections nobody has."""
    addresses = socket.inet_aton(SERVER) + socket.inet_aton("127.64.0.2")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        for number in paced(3):
            header = struct.pack("!BBHHHBBH8s", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0, addresses)
            header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
            datagram = struct.pack("!HHHH", EPHEMERAL[number % len(EPHEMERAL)], 53, 8, 0)
            raw.sendto(icmp(3, 3, b"\0\0\0\0", header + datagram), (SERVER, 0))


def inserts():
    """insert: entries put into the table by user space, as conntrackd does on the standby of a pair of firewalls."""
    for number in paced(1):
        port = str(EPHEMERAL[number % len(EPHEMERAL)])
        words = f"-I -p udp -s 127.64.4.1 -d 127.64.4.2 --sport {port} --dport 53 -t 30"
        subprocess.run(["conntrack", *words.split()], check=False, capture_output=True)


def port_pressure():
    """found: connections through a gateway with 128 ports, mostly taken: a free one has to be looked for."""
    for _ in paced(3):
        with udp() as client, contextlib.suppress(PermissionError):  # at high tide none is free and it is dropped
            client.sendto(b"x", (MASQUERADED, 443))


def expectations():
    """expect_*: TFTP, where the answer comes from another port than was asked."""
    if not rules("helper.nft"):
        say("this kernel has no TFTP helper: no expectations")
        return
    for _ in paced(1):
        with udp() as client:
            client.settimeout(1)
            client.sendto(b"\0\1hello\0octet\0", (SERVER, TFTP))
            with contextlib.suppress(TimeoutError):
                client.recv(2048)


def race(rounds, send):
    """Calls `send(0, step)` and `send(1, step)` on two CPUs at the same moment, `rounds` a second."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        say("one CPU, no race")
        return
    steps = mmap.mmap(-1, 16)
    mine, other = (slice(0, 8), slice(8, 16))
    child = os.fork() == 0
    os.sched_setaffinity(0, {cpus[child]})
    if child:
        mine, other = other, mine
    for number in paced(1):
        for step in range(number * rounds, (number + 1) * rounds):
            word = struct.pack("=Q", step + 1)
            if child:
                wait(steps, other, word)
                steps[mine] = word
            else:
                steps[mine] = word
                wait(steps, other, word)
            with contextlib.suppress(OSError):  # dropped, which is the point of some
                send(child, step)


def wait(steps, other, word):
    """Spins for as long as a step takes, then less eagerly: the other may be between two rounds."""
    for _ in range(100_000):
        if steps[other] == word:
            return
    while steps[other] != word:
        time.sleep(0.001)


def clashes():
    """clash_resolve: both of the first two datagrams of a connection make an entry; the kernel keeps both."""
    with udp() as client:
        client.bind(("127.64.0.2", 0))
        race(10, lambda _, step: client.sendto(b"x", (BALANCED, EPHEMERAL[step % len(EPHEMERAL)])))


def lost_races():
    """insert_failed and drop: the same with pings, for which the kernel resolves no clash and drops one."""
    pings = [icmp(8, 0, struct.pack("!HH", number, 1)) for number in range(65_536)]
    # A socket each: one raw socket would send one packet after the other.
    raws = [socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) for _ in range(2)]
    race(2, lambda side, step: raws[side].sendto(pings[step % len(pings)], (BALANCED, 0)))
