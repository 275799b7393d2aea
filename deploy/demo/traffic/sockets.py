"""Movers of the socket metrics, and peers for the probes."""

import contextlib
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time

from common import MOODY, QUEUE, SECURE, SERVER, SHOP, SINK, SLOW, WEB, paced, udp


def lossy():
    """tcp.rtt, tcp.io, tcp.retransmits: clients that stay for a minute and talk over a network path that loses segments."""

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
