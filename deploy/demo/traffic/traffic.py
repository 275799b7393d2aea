"""The traffic of the demo: a little of everything that moves a counter of the connection tracking or of the sockets, and
peers for the probes.

Each MOVER is a process that repeats one thing at a bounded rate, inside this container's own network namespace and to
addresses in 127.64.0.0/16 only; the agent shares the namespace and reads its counters. Needs CAP_NET_ADMIN for the
rules and for `conntrack -I`, CAP_NET_RAW for packets that no socket would send. Ends on SIGTERM.
"""

import contextlib
import functools
import math
import mmap
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
READY = pathlib.Path("/run/traffic-ready")
SYSCTL = pathlib.Path("/proc/sys/net/netfilter")

SERVER = "127.64.0.1"
BALANCED = "127.64.1.1"  # rules.nft: two backends
MASQUERADED = "127.64.2.1"  # rules.nft: behind 128 ports
BLACKHOLE = "127.64.3.1"  # rules.nft: never answers
SHOP = "127.64.5.1"  # rules.nft: loses one segment in fifty
QUEUE = "127.64.5.2"  # a server that is too slow
MOODY = "127.64.6.1"  # a server that is there now and then
WEB, SLOW, SECURE, SINK, TFTP = 8080, 8025, 8443, 9, 69
EPHEMERAL = range(20_000, 60_000)

# The profile `table-full` never sets a limit higher than this. A machine with little memory has one this low by
# itself, so the limit must have been lowered besides: see `fill`.
FULL_BELOW = 16_384


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
    """Connections to a server that never answers: the SYN is sent again and again, the entry stays in SYN_SENT."""
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


def lossy():
    """tcp.rtt, tcp.io, tcp.retransmits: clients that stay for a minute and talk over a way that loses segments."""

    def answer(connection):
        with connection, contextlib.suppress(ConnectionError):
            while question := connection.recv(2048):
                connection.sendall(question * 8)

    def accept(server):
        while True:
            threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()

    question = b"a dozen eggs" * 40
    with socket.create_server((SHOP, WEB)) as server:
        threading.Thread(target=accept, args=[server], daemon=True).start()
        while True:
            with contextlib.ExitStack() as clients:
                customers = [clients.enter_context(socket.create_connection((SHOP, WEB))) for _ in range(4)]
                for number, _ in zip(range(1200), paced(20)):
                    customer = customers[number % len(customers)]
                    customer.sendall(question)
                    customer.recv(8 * len(question), socket.MSG_WAITALL)


def too_slow():
    """tcp.listen.queue: a server that accepts one connection a second, and clients that come twice as fast."""

    def accept(server):
        for _ in paced(1):
            server.accept()[0].close()

    with socket.create_server((QUEUE, SLOW), backlog=8) as server, contextlib.ExitStack() as clients:
        threading.Thread(target=accept, args=[server], daemon=True).start()
        waiting = []
        for _ in paced(2):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((QUEUE, SLOW))
            waiting.append(client)
            if len(waiting) > 40:
                waiting.pop(0).close()


def refused():
    """tcp.connections, failed: nobody listens there."""
    for _ in paced(0.2):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((SHOP, SINK), timeout=5)


def resets():
    """tcp.connections, reset: a client that hangs up in the middle."""
    for _ in paced(0.5):
        with socket.create_connection((SERVER, WEB), timeout=5) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def careless():
    """close_wait: connections that their other end has closed, each kept for half a minute."""
    kept = []
    for _ in paced(0.5):
        client = socket.create_connection((SERVER, WEB), timeout=5)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        kept.append(client)
        if len(kept) > 15:
            kept.pop(0).close()


def bursts():
    """udp.drops, udp.queue.usage: more datagrams at once than there is room for, read one after the other."""

    def read(server):
        for _ in paced(5):
            server.recv(2048)

    with udp() as server, udp() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        server.bind((QUEUE, SINK))
        threading.Thread(target=read, args=[server], daemon=True).start()
        for _ in paced(0.1):
            for _ in range(20):
                client.sendto(b"x" * 400, (QUEUE, SINK))


def moody():
    """probe.state_changes: a server that is there for half a minute and gone for half a minute."""
    while True:
        with socket.create_server((MOODY, WEB)) as server:
            server.settimeout(1)
            for _ in range(30):
                with contextlib.suppress(TimeoutError):
                    server.accept()[0].close()
        time.sleep(30)


def secure():
    """probe.tls.certificate.expiry: a server with a certificate of its own making, good for a month."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = (f"{folder}/{name}.pem" for name in ("key", "certificate"))
        words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=demo -days 30 -keyout {key}"
        subprocess.run(["openssl", *words.split(), "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    with socket.create_server((SERVER, SECURE)) as server:
        while True:
            connection, _ = server.accept()
            connection.settimeout(5)
            with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as talk:
                talk.recv(2048)


def table_limit():
    """The limit of the table; none is infinite."""
    return int((SYSCTL / "nf_conntrack_max").read_text()) or math.inf


@functools.cache
def usual_limit():
    """The limit when this was asked first, which is before there are movers: a mover that is started again must not
    take a lowered one for it."""
    return table_limit()


def fill():
    """drop, early_drop: while the limit is so low that it was lowered for this, a few more connections than fit."""
    while True:
        time.sleep(1)
        limit = table_limit()
        if limit >= FULL_BELOW or limit >= usual_limit() / 2:
            continue
        usage = int((SYSCTL / "nf_conntrack_count").read_text())
        for _ in range(max(0, min(limit - usage, 2000)) + 20):
            with udp() as client, contextlib.suppress(PermissionError):
                client.sendto(b"x", (SERVER, SINK))


MOVERS = (
    serve,
    connections,
    datagrams,
    retransmits,
    invalid,
    errors,
    inserts,
    port_pressure,
    expectations,
    clashes,
    lost_races,
    lossy,
    too_slow,
    refused,
    resets,
    careless,
    bursts,
    moody,
    secure,
    fill,
)


def rules(name):
    return subprocess.run(["nft", "-f", HERE / name], check=False).returncode == 0


def run(mover):
    """A mover for ever: a full table fails its connections too, and that is not its end."""
    while True:
        try:
            mover()
            signal.pause()  # it said why it cannot
        except PermissionError:  # how a dropped packet looks to its sender
            time.sleep(1)
        except OSError as error:
            say(f"{mover.__name__}: {error}")
            time.sleep(1)


def start(mover):
    pid = os.fork()
    if pid == 0:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        run(mover)
    return pid


def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    sys.exit(0)


def main():
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    if not rules("rules.nft"):
        sys.exit("traffic: the rules were refused; CAP_NET_ADMIN is needed")
    usual_limit()
    movers = {start(mover): mover for mover in MOVERS}
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    READY.touch()
    say(", ".join(mover.__name__ for mover in MOVERS))
    # Never ends by itself: the agent would be left behind in a network namespace that nobody else is in.
    while True:
        pid, status = os.wait()
        mover = movers.pop(pid, None)
        if mover is not None:
            say(f"{mover.__name__} ended: {status}")
            time.sleep(1)
            movers[start(mover)] = mover


if __name__ == "__main__":
    main()
