"""`make fleet`: see .ci/fleet."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from nodes import CONFIGURATIONS, node  # noqa: E402
from processes import Collector, agent, cpu, exchanged, memory, series  # noqa: E402

PROGRAM, OTELCOL = sys.argv[1:3]
AGENTS = int(os.environ.get("FLEET_AGENTS", "200"))
SECONDS = int(os.environ.get("FLEET_SECONDS", "120"))
DOWN = int(os.environ.get("FLEET_DOWN", "60"))
INTERVAL = 10
ALONE = int(os.environ.get("FLEET_ALONE", "60"))
FLEET = "inventory: {units: false}\nexport: {otlp: {endpoint: 'http://127.0.0.1:4317', interval: 10s}}\n"


def say(text):
    print(f"fleet: {text}", file=sys.stderr, flush=True)


def most(times, width):
    """The most arrivals within any span of this many seconds."""
    times, first, best = sorted(times), 0, 0
    for last, when in enumerate(times):
        while when - times[first] >= width:
            first += 1
        best = max(best, last - first + 1)
    return best


def spread(title, arrivals, begin, seconds):
    """How arrivals spread over a time."""
    times = [when for when, _ in arrivals]
    per_second = [0] * seconds
    for when in times:
        per_second[min(int(when - begin), seconds - 1)] += 1
    print(f"| {title} | {len(times)} | {len(times) / seconds:.1f} | {min(per_second)} to {max(per_second)} "
          f"| {most(times, 1)} | {most(times, 0.1)} |")


def usage(agents, collector, seconds, before):
    """CPU and memory of the agents and of the Collector."""
    shares = [(cpu(one.pid) - start) / seconds * 100 for one, start in zip(agents, before)]
    sizes = [memory(one.pid) for one in agents]
    print(f"| agents, each: CPU median / most | {statistics.median(shares):.3f} / {max(shares):.3f} % of a core |")
    print(f"| agents, all: CPU | {sum(shares) / 100:.2f} cores |")
    resident, proportional = zip(*sizes)
    print(f"| agents, each: resident memory median / most | {statistics.median(resident):.1f} / {max(resident):.1f} MiB |")
    print(f"| agents, each: proportional memory | {statistics.median(proportional):.1f} MiB |")
    if collector is not None:
        process, start = collector
        print(f"| the Collector: CPU, resident memory | {(cpu(process.pid) - start) / seconds:.3f} cores, "
              f"{memory(process.pid)[0]:.0f} MiB |")


def fleet(folder):
    """The Collector, all agents, and an outage."""
    config = folder / "agent.yaml"
    config.write_text(FLEET + "sources: {containers: {enabled: false}}\n", encoding="utf-8")
    collector = Collector(OTELCOL)
    began = time.time()
    agents = [agent(PROGRAM, number, config) for number in range(AGENTS)]
    started = time.time()
    say(f"{AGENTS} agents were started in {started - began:.1f} s")
    # From here on each has pushed once.
    time.sleep(INTERVAL + 5)
    mark, before = time.time(), [cpu(one.pid) for one in agents]
    collecting = cpu(collector.process.pid)
    time.sleep(SECONDS)
    took = time.time() - mark
    print(f"\n{AGENTS} agents, {INTERVAL} s interval, {SECONDS} s\n\n| | |\n|---|---|")
    usage(agents, (collector.process, collecting), took, before)
    own = collector.own()
    taken = collector.between(mark, mark + took)
    print(f"| data points a push | {statistics.median(points for _, points in taken):.0f} |")
    refused = sum(value for name, value in own.items() if "refused_metric_points" in name or "failed_metric_points" in name)
    print(f"| points refused or failed | {refused:.0f} |")
    sent = [exchanged(one.pid) for one in agents]
    pushes = (time.time() - started) / INTERVAL
    print(f"| bytes a push, uncompressed | {statistics.median(sent) / pushes:.0f} |")
    say(f"the Collector is killed for {DOWN} s")
    dead, idle = time.time(), [cpu(one.pid) for one in agents]
    collector.kill()
    time.sleep(DOWN)
    print(f"\nThe Collector is down for {DOWN} s\n\n| | |\n|---|---|")
    usage(agents, None, time.time() - dead, idle)
    collector.start()
    back = time.time()
    time.sleep(3 * INTERVAL)
    alive = sum(one.poll() is None for one in agents)
    again = collector.between(back, back + INTERVAL)
    own = collector.own()
    refused = sum(value for name, value in own.items() if "refused_metric_points" in name or "failed_metric_points" in name)
    print(f"| agents that run at the end | {alive} |")
    print(f"| pushes in the first {INTERVAL} s after it was back | {len(again)} |")
    print(f"| points refused or failed after it was back | {refused:.0f} |")
    print("\n| arrivals | pushes | a second, mean | in a second of the clock | most in any 1 s | most in any 0.1 s |")
    print("|---|---|---|---|---|---|")
    spread("after all were started", collector.between(mark, mark + SECONDS), mark, SECONDS)
    spread("the first interval after the outage", again, back, INTERVAL)
    spread("the second and the third", collector.between(back + INTERVAL, back + 3 * INTERVAL), back + INTERVAL, 2 * INTERVAL)
    for one in agents:
        one.terminate()
    for one in agents:
        one.wait()
    return collector


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
                one = agent(PROGRAM, 0, config, "127.0.0.1:9371")
                time.sleep(ALONE / 6)  # the first pushes are dearer
                mark, begin, sent = time.time(), cpu(one.pid), exchanged(one.pid)
                time.sleep(ALONE if compression == "none" else ALONE / 4)
                arrived = collector.between(mark, time.time())
                sizes.insert(0, (exchanged(one.pid) - sent) / max(len(arrived), 1))
                took, resident = (cpu(one.pid) - begin) / max(len(arrived), 1), memory(one.pid)[0]
                scraped = series()
                one.terminate()
                one.wait()
            points = statistics.median(points for _, points in arrived)
            shown = " / ".join(f"{size:.0f}" for size in (sizes[0], sizes[2], sizes[1]))
            print(f"| {name} | {scraped} | {points:.0f} | {shown} | {took * 1000:.1f} ms | {resident:.1f} MiB |", flush=True)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    track = "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ct state new accept"
    subprocess.run(["nft", track], check=True)
    with tempfile.TemporaryDirectory() as folder:
        collector = fleet(pathlib.Path(folder))
        alone(pathlib.Path(folder), collector)
        collector.kill()


main()
