"""The mover of the profile `table-full`: a few more connections than a lowered limit allows."""

import contextlib
import functools
import math
import pathlib
import time

from common import SERVER, SINK, udp

SYSCTL = pathlib.Path("/proc/sys/net/netfilter")

# The profile `table-full` never sets a limit higher than this. A machine with little memory has one this low by
# itself, so the limit must have been lowered besides: see `fill`.
FULL_BELOW = 16_384


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
