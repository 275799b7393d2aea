"""Typical configurations, and nodes that have what they are for."""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

SOCKETS = """\
inventory: {units: false}
sources:
  conntrack: {via: netlink}
  sockets:
    group_by: [direction, service_port, peer_group]
    peer_groups: {nodes: [10.77.0.0/24], elsewhere: [0.0.0.0/0]}
"""
PROBES = "  probes:\n    targets:\n" + "".join(
    f"      - {{name: peer-{number}, kind: tcp, host: 10.77.0.{number}, port: 7000}}\n" for number in range(1, 21)
)
CONTAINERS = "  containers: {enabled: true}\n"
REST = "  node: {enabled: true}\n  logs: {enabled: true, docker: false, files: false}\n"

# What is written into the file, and what the node has: ports, connections to each, containers.
CONFIGURATIONS = {
    "defaults, 200 sockets": ("inventory: {units: false}\n", (5, 20, 0)),
    "a server: groups, 2,000 sockets, 20 probes": (SOCKETS + PROBES, (20, 50, 0)),
    "a node of containers: the same, 40 containers with 5 destinations each": (SOCKETS + PROBES + CONTAINERS, (20, 50, 40)),
    "every source: the same, the node, and logs": (SOCKETS + PROBES + CONTAINERS + REST, (20, 50, 40)),
}

# A container: a process in a control group of its own, with a connection to each of five destinations.
INSIDE = r"""
import socket, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
kept = [socket.create_connection((f"10.77.0.{n}", 7000)) for n in range(1, 6)]
while True:
    for one in kept: one.send(b"x" * 100)
    time.sleep(1)
"""


# The hierarchy that says most: see tests/containers/lab.rs.
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
GROUPS = MEMORY if MEMORY.is_dir() else MEMORY.parent
PREFIX = "connscope-fleet-"


def remove_leftovers():
    """Control groups of a run that was killed. Those of one that goes on have processes, and the kernel keeps them."""
    for folder, _, _ in [entry for top in GROUPS.glob(f"{PREFIX}*") for entry in os.walk(top, topdown=False)]:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def containers(stack, count):
    """Control groups as an engine makes them, each with a process."""
    top = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=GROUPS))
    stack.callback(remove, top)
    groups = [top / f"{os.getpid():032x}{number:032x}" for number in range(count)]
    for group in groups:
        group.mkdir()
        stack.callback(remove, group)
    for group in groups:
        process = subprocess.Popen(["python3", "-I", "-c", INSIDE, group])
        stack.callback(process.wait)
        stack.callback(process.kill)


@contextlib.contextmanager
def node(peers):
    """A node with so many ports, connections to each, and containers."""
    ports, connections, count = peers
    with contextlib.ExitStack() as stack:
        for number in range(1, ports + 1):
            subprocess.run(["ip", "address", "replace", f"10.77.0.{number}/32", "dev", "lo"], check=True)
        for number in range(1, ports + 1):
            listener = stack.enter_context(socket.create_server((f"10.77.0.{number}", 7000), backlog=1024))
            for _ in range(connections):
                stack.enter_context(socket.create_connection(listener.getsockname()))
                stack.enter_context(listener.accept()[0])
        if count:
            containers(stack, count)
        time.sleep(2)
        yield


def remove(group):
    """A group is empty once the kernel has let go of the process."""
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.05)
