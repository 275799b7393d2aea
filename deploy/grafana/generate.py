#!/usr/bin/env python3
"""Writes the dashboards in dashboards/, one for each file of boards/. With --check it only compares."""

import json
import pathlib
import sys

# The check is a test, and leaves nothing behind.
sys.dont_write_bytecode = True

from boards import connscope_agent, containers, conntrack_entries, conntrack_nat, conntrack_table, conntrack_trouble, logs, node, probes, sockets, why_lost  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent

DASHBOARDS = {
    "conntrack-table.json": conntrack_table.table,
    "conntrack-trouble.json": conntrack_trouble.trouble,
    "conntrack-entries.json": conntrack_entries.entries,
    "conntrack-nat.json": conntrack_nat.nat,
    "why-lost.json": why_lost.why_lost,
    "sockets.json": sockets.sockets,
    "probes.json": probes.probes,
    "containers.json": containers.containers,
    "logs.json": logs.logs,
    "node.json": node.node,
    "connscope-agent.json": connscope_agent.agent,
}


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: generate.py [--check]")
    stale = []
    for name, make in DASHBOARDS.items():
        path = HERE / "dashboards" / name
        text = json.dumps(make(), indent=2, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if check and stale:
        sys.exit(f"not what generate.py makes: {', '.join(stale)}; run deploy/grafana/generate.py and commit")


if __name__ == "__main__":
    main()
