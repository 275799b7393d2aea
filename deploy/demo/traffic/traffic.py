"""The traffic of the demo: a little of everything that moves a counter of the connection tracking or of the sockets, and
peers for the probes.

Each MOVER is a process that repeats one thing at a bounded rate, inside this container's own network namespace and to
addresses in 127.64.0.0/16 only; the agent shares the namespace and reads its counters. Needs CAP_NET_ADMIN for the
rules and for `conntrack -I`, CAP_NET_RAW for packets that no socket would send. Ends on SIGTERM.
"""

import os
import pathlib
import signal
import sys
import time

import conntrack
import sockets
import table_full
from common import rules, say

READY = pathlib.Path("/run/traffic-ready")

MOVERS = (
    conntrack.serve,
    conntrack.connections,
    conntrack.datagrams,
    conntrack.retransmits,
    conntrack.invalid,
    conntrack.errors,
    conntrack.inserts,
    conntrack.port_pressure,
    conntrack.expectations,
    conntrack.clashes,
    conntrack.lost_races,
    sockets.lossy,
    sockets.too_slow,
    sockets.refused,
    sockets.resets,
    sockets.careless,
    sockets.bursts,
    sockets.moody,
    sockets.secure,
    table_full.fill,
)


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
    table_full.usual_limit()
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
