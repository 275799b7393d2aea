#!/usr/bin/env python3
"""Asks a Prometheus for every expression of every dashboard, until each gives data or the time is up.

usage: ask.py http://localhost:9090 [SECONDS]
"""

import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

DASHBOARDS = pathlib.Path(__file__).resolve().parent / "dashboards"


def expressions():
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                # What Grafana would put in: a rate interval, and "all" for the variables.
                expr = target["expr"].replace("$__rate_interval", "1m")
                yield f"{path.stem}: {panel['title']} {target['refId']}", re.sub(r"\$\w+", ".*", expr)


def points(base, expr):
    data = urllib.parse.urlencode({"query": expr}).encode()
    with urllib.request.urlopen(f"{base}/api/v1/query", data, timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    # A quotient of two rates that do not move yet is there, but says nothing.
    return [series for series in result if series["value"][1] != "NaN"]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip().splitlines()[-1])
    base, until = sys.argv[1].rstrip("/"), time.monotonic() + float(sys.argv[2] if len(sys.argv) == 3 else 0)
    wanted = dict(expressions())
    total = len(wanted)
    while True:
        why = {}
        for name, expr in list(wanted.items()):
            try:
                if points(base, expr):
                    del wanted[name]
                    continue
                why[name] = "no data"
            except OSError as error:  # of which a refused query (HTTPError) is one
                why[name] = getattr(error, "read", lambda: str(error).encode())().decode(errors="replace")
        if not wanted:
            print(f"all {total} expressions give data")
            return
        if time.monotonic() >= until:
            for name, expr in wanted.items():
                print(f"{name}: {why[name]}\n    {expr}", file=sys.stderr)
            sys.exit(f"{len(wanted)} of {total} expressions give no data")
        time.sleep(2)


if __name__ == "__main__":
    main()
