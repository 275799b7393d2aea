"""Processes under measurement: the Collector with what it logs, and agents with what they take."""

import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).parent


def cpu(pid):
    """CPU time of a process so far, in seconds: the clock that clock_getcpuclockid(3) names, which does not count in ticks."""
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid):
    """Resident and proportional memory of a process, in MiB: pages of the program are shared by all that run it."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:] if line.split()[-1] == "kB"}
    return sizes["Rss"] / 1024, sizes["Pss"] / 1024


class Collector:
    """The Collector, and when each message came."""

    def __init__(self, program):
        self.program = program
        self.arrivals = []  # time, data points
        self.start()

    def start(self):
        """Starts it, and waits until it can be asked."""
        command = [self.program, "--config", HERE / "collector.yaml"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True).start()
        until = time.time() + 60
        while True:
            try:
                self.own()
                return
            except OSError:
                if time.time() > until or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def read(self, lines):
        """Takes one line for each message."""
        for line in lines:
            said = json.loads(line)
            if said.get("data points"):
                when = datetime.datetime.fromisoformat(said["ts"]).timestamp()
                self.arrivals.append((when, said["data points"]))

    def own(self):
        """Its own metrics: sums over all series of a name."""
        sums = {}
        with urllib.request.urlopen("http://127.0.0.1:8888/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    series, value = line.rsplit(" ", 1)
                    name = series.split("{")[0]
                    sums[name] = sums.get(name, 0) + float(value)
        return sums

    def kill(self):
        """As a node that fails does."""
        self.process.kill()
        self.process.wait()

    def refused(self):
        """Data points that it did not take, or could not pass on, since it was started."""
        words = ("refused_metric_points", "failed_metric_points")
        return sum(value for name, value in self.own().items() if any(word in name for word in words))

    def between(self, begin, end):
        """Arrivals within a time."""
        return [arrival for arrival in list(self.arrivals) if begin <= arrival[0] < end]


def agent(program, number, config, listen="off"):
    """An agent as a node of its own name."""
    name = f"node-{number}"
    environment = {"PATH": os.environ["PATH"]}
    environment["OTEL_RESOURCE_ATTRIBUTES"] = f"host.name={name},service.instance.id={name}"
    command = [program, "run", "--config", config, "--listen", listen, "--log-format", "json"]
    log = open(f"{config}.{number}.log", "w", encoding="utf-8")  # the process has it
    with log:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)


@contextlib.contextmanager
def agents(program, numbers, config, listen="off"):
    """Agents that end with what they are for."""
    with contextlib.ExitStack() as stack:
        running = []
        for number in numbers:
            one = agent(program, number, config, listen)
            stack.callback(one.wait)
            running.append(one)
        stack.callback(lambda: [one.terminate() for one in running])
        yield running


def series():
    """Series that Prometheus has of the agent that listens: a histogram is one for each bucket, and two."""
    with urllib.request.urlopen("http://127.0.0.1:9371/metrics", timeout=10) as answer:
        return sum(not line.startswith(b"#") for line in answer)


def exchanged(pid):
    """Bytes that a process has sent to the Collector over the connection that it has."""
    said = subprocess.run(
        ["ss", "-tinHOp", "dport = :4317"], check=True, capture_output=True, text=True
    ).stdout
    sent = [line.split("bytes_sent:")[1].split()[0] for line in said.splitlines() if f"pid={pid}," in line]
    return sum(map(int, sent))
