"""`make fleet`: see .ci/fleet."""

import contextlib
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from nodes import CONFIGURATIONS, node, remove_leftovers  # noqa: E402
from processes import Collector, agents, cpu, exchanged, memory, series  # noqa: E402

PROGRAM, OTELCOL = sys.argv[1:3]
AGENTS = int(os.environ.get("FLEET_AGENTS", "200"))
SECONDS = int(os.environ.get("FLEET_SECONDS", "120"))
DOWN = int(os.environ.get("FLEET_DOWN", "60"))
INTERVAL = int(os.environ.get("FLEET_INTERVAL", "10"))
ALONE = int(os.environ.get("FLEET_ALONE", "60"))
FLEET = f"inventory: {{units: false}}\nexport: {{otlp: {{endpoint: 'http://127.0.0.1:4317', interval: {INTERVAL}s}}}}\n"

# What was not as docs/fleet.md promises it.
FAULTS = []


def say(text):
    print(f"fleet: {text}", file=sys.stderr, flush=True)


def expect(true, text):
    """Notes a promise that was not kept. The run goes on: the tables say more."""
    if not true:
        FAULTS.append(text)


def most(times, width):
    """The most arrivals within any span of this many seconds."""
    times, first, best = sorted(times), 0, 0
    for last, when in enumerate(times):
        while when - times[first] >= width:
            first += 1
        best = max(best, last - first + 1)
    return best


def spread(title, arrivals, begin, seconds, excess=1.1):
    """How arrivals spread over a time: one a node and interval, up to this many times that, and never in a wave. What the times of a
    run and of its seconds may add is in the bounds."""
    times = [when for when, _ in arrivals]
    per_second = [0] * seconds
    for when in times:
        per_second[min(int(when - begin), seconds - 1)] += 1
    mean = AGENTS / INTERVAL
    print(f"| {title} | {len(times)} | {len(times) / seconds:.1f} | {min(per_second)} to {max(per_second)} "
          f"| {most(times, 1)} | {most(times, 0.1)} |")
    least, highest = 0.9 * mean * seconds - 2, excess * mean * seconds + 2
    expect(least <= len(times) <= highest, f"{title}: {len(times)} pushes, not {least:.0f} to {highest:.0f}")
    bound = excess * mean + 8 * math.sqrt(mean) + 3
    expect(most(times, 1) <= bound, f"{title}: {most(times, 1)} pushes within 1 s, more than {bound:.0f}")


def usage(running, collector, seconds, before):
    """CPU and memory of the agents and of the Collector."""
    shares = [(cpu(one.pid) - start) / seconds * 100 for one, start in zip(running, before)]
    sizes = [memory(one.pid) for one in running]
    print(f"| agents, each: CPU median / most | {statistics.median(shares):.3f} / {max(shares):.3f} % of a core |")
    print(f"| agents, all: CPU | {sum(shares) / 100:.2f} cores |")
    resident, proportional = zip(*sizes)
    print(f"| agents, each: resident memory median / most | {statistics.median(resident):.1f} / {max(resident):.1f} MiB |")
    print(f"| agents, each: proportional memory | {statistics.median(proportional):.1f} MiB |")
    if collector is not None:
        process, start = collector
        print(f"| the Collector: CPU, resident memory | {(cpu(process.pid) - start) / seconds:.3f} cores, "
              f"{memory(process.pid)[0]:.0f} MiB |")


def living(running):
    """Ends the run if an agent has ended: nothing can be said of it."""
    ended = [f"{number} with {one.returncode}" for number, one in enumerate(running) if one.poll() is not None]
    if ended:
        sys.exit(f"fleet: FAILED: agents have ended: {', '.join(ended)}")


def fleet(folder, collector):
    """All agents, and an outage of the Collector."""
    config = folder / "agent.yaml"
    config.write_text(FLEET + "sources: {containers: {enabled: false}}\n", encoding="utf-8")
    began = time.time()
    with agents(PROGRAM, range(AGENTS), config) as running:
        started = time.time()
        say(f"{AGENTS} agents were started in {started - began:.1f} s")
        # From here on each has pushed once.
        time.sleep(1.5 * INTERVAL)
        living(running)
        mark, before = time.time(), [cpu(one.pid) for one in running]
        collecting = cpu(collector.process.pid)
        time.sleep(SECONDS)
        took = time.time() - mark
        living(running)
        print(f"\n{AGENTS} agents, {INTERVAL} s interval, {SECONDS} s\n\n| | |\n|---|---|")
        usage(running, (collector.process, collecting), took, before)
        taken = collector.between(mark, mark + took)
        if not taken:
            sys.exit(f"fleet: FAILED: no push came within {SECONDS} s")
        print(f"| data points a push | {statistics.median(points for _, points in taken):.0f} |")
        refused = collector.refused()
        print(f"| points refused or failed | {refused:.0f} |")
        expect(refused == 0, f"{refused:.0f} points were refused or failed")
        sent = [exchanged(one.pid) for one in running]
        pushes = (time.time() - started) / INTERVAL
        print(f"| bytes a push, uncompressed | {statistics.median(sent) / pushes:.0f} |")
        say(f"the Collector is killed for {DOWN} s")
        dead, idle = time.time(), [cpu(one.pid) for one in running]
        collector.kill()
        time.sleep(DOWN)
        living(running)
        print(f"\nThe Collector is down for {DOWN} s\n\n| | |\n|---|---|")
        usage(running, None, time.time() - dead, idle)
        collector.start()
        back = time.time()
        time.sleep(3 * INTERVAL)
        living(running)
        again = collector.between(back, back + INTERVAL)
        refused = collector.refused()
        print(f"| pushes in the first {INTERVAL} s after it was back | {len(again)} |")
        print(f"| points refused or failed after it was back | {refused:.0f} |")
        expect(refused == 0, f"{refused:.0f} points were refused or failed after the Collector was back")
        print("\n| arrivals | pushes | a second, mean | in a second of the clock | most in any 1 s | most in any 0.1 s |")
        print("|---|---|---|---|---|---|")
        spread("after all were started", collector.between(mark, mark + SECONDS), mark, SECONDS)
        # Those that were between two tries push at once.
        spread("the first interval after the outage", again, back, INTERVAL, excess=1.5)
        spread("the second and the third", collector.between(back + INTERVAL, back + 3 * INTERVAL), back + INTERVAL, 2 * INTERVAL)


def alone(folder, collector):
    """One agent, with each of the typical configurations on a node that has what it is for."""
    print(f"\nOne agent, a push a second for {ALONE} s\n")
    print("| node | series | data points a push | bytes a push: none / gzip / zstd | CPU a push | resident memory |\n|---|---|---|---|---|---|")
    for name, (settings, peers) in CONFIGURATIONS.items():
        with node(peers):
            sizes = []
            for compression in ("gzip", "zstd", "none"):
                config = folder / f"{name.split(',')[0].replace(' ', '-')}-{compression}.yaml"
                otlp = f"endpoint: 'http://127.0.0.1:4317', interval: 1s, jitter: 0s, compression: {compression}"
                config.write_text(f"export: {{otlp: {{{otlp}}}}}\n{settings}", encoding="utf-8")
                with agents(PROGRAM, [0], config, "127.0.0.1:9371") as running:
                    one = running[0]
                    time.sleep(max(ALONE / 6, 1))  # the first pushes are dearer
                    living(running)
                    mark, begin, sent = time.time(), cpu(one.pid), exchanged(one.pid)
                    time.sleep(ALONE if compression == "none" else max(ALONE / 4, 1))
                    living(running)
                    arrived = collector.between(mark, time.time())
                    sizes.insert(0, (exchanged(one.pid) - sent) / max(len(arrived), 1))
                    took, resident = (cpu(one.pid) - begin) / max(len(arrived), 1), memory(one.pid)[0]
                    scraped = series()
            expect(ALONE / 2 <= len(arrived) <= 2 * ALONE, f"{name}: {len(arrived)} pushes in {ALONE} s")
            points = statistics.median([points for _, points in arrived] or [0])
            shown = " / ".join(f"{size:.0f}" for size in (sizes[0], sizes[2], sizes[1]))
            print(f"| {name} | {scraped} | {points:.0f} | {shown} | {took * 1000:.1f} ms | {resident:.1f} MiB |", flush=True)
    refused = collector.refused()
    expect(refused == 0, f"{refused:.0f} points of the agent alone were refused or failed")


def main():
    remove_leftovers()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    track = "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ct state new accept"
    subprocess.run(["nft", track], check=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        collector = Collector(OTELCOL)
        stack.callback(collector.kill)
        fleet(pathlib.Path(folder), collector)
        alone(pathlib.Path(folder), collector)
    for fault in FAULTS:
        say(f"FAILED: {fault}")
    sys.exit(bool(FAULTS))


main()
