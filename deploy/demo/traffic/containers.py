"""The containers of the demo: one serves, one visits it, one fails to connect, one logs, and one is killed for memory every
20 seconds.

Each is started with what it does and, where it connects, with whom. All need nothing but a network of their own. End on
SIGTERM.
"""

import itertools
import logging
import os
import signal
import socket
import sys
import time

PORT = 8080
# Nobody listens there.
CLOSED = 5672


def serve():
    """Answers each line with a kilobyte."""
    with socket.create_server(("", PORT), backlog=64) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                try:
                    while connection.recv(100):
                        connection.sendall(b"x" * 1024)
                except OSError:
                    pass  # the visitor left by a reset, or forgot the connection


def visit(host):
    """Three connections a second: most are closed in order, every tenth by a reset, and one in twenty stays for ten seconds."""
    number = 0
    while True:
        number += 1
        try:
            with socket.create_connection((host, PORT), timeout=5) as connection:
                connection.sendall(b"hello\n")
                connection.recv(2000)
                if number % 10 == 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                if number % 20 == 5:
                    time.sleep(4)
        except OSError:
            pass  # it is not up yet
        time.sleep(0.3)


def fail(host):
    """Two attempts a second, all refused."""
    while True:
        try:
            socket.create_connection((host, CLOSED), timeout=5).close()
        except OSError:
            pass  # that is what it is for
        time.sleep(0.5)


def log():
    """An order a second; one in ten is slow, and one a minute fails with a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    orders = logging.getLogger("orders")
    for number in itertools.count():
        time.sleep(1)
        if number % 60 == 5:
            try:
                raise ConnectionError(f"the bank has not answered for order {number}")
            except ConnectionError:
                orders.exception("order %d failed", number)
        elif number % 10 == 0:
            orders.warning("order %d took %d ms", number, 900 + number % 100)
        else:
            orders.info("order %d was paid", number)


def eat():
    """A child that takes memory until the kernel kills it, every 20 s; after three of them the container ends, and is restarted."""
    for _ in range(3):
        child = os.fork()
        if child == 0:
            kept = []
            while True:
                kept.append(b"x" * (1 << 20))
        os.waitpid(child, 0)
        time.sleep(20)
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    what, *whom = sys.argv[1:]
    {"serve": serve, "visit": visit, "fail": fail, "log": log, "eat": eat}[what](*whom)
