"""Containers: connections by destination, failures, OOM kills and restarts."""

from container_resources import BY, NAME, latest, or_none, rate, resources
from panels import columns, dashboard, panel, row, target
from queries import AGENT, BY_AGENT, CONTAINER, CONTAINER_LABELS, NONE, NONE_OF_AGENT, NONE_YET, SIXTEEN, WHO, several
from rules import percent, threshold

TO = "server_address, server_port"
DESTINATION = "{{server_address}} {{server_port}}"


def growth(metric, span="10m"):
    return f"sum {BY} (increase({metric}{{{AGENT}}}[{span}]))"


def attempts(by):
    return rate("container_tcp_connections_total", by, event="opened|failed")


def joined(expr, label, separator, *labels):
    quoted = ", ".join(f'"{each}"' for each in labels)
    return f'label_join({expr}, "{label}", "{separator}", {quoted})'


def edges():
    """From container to destination, with the columns that Grafana's node graph asks for."""
    expr = attempts(f"by ({NAME}, {TO})")
    expr = joined(expr, "source", " ", *CONTAINER_LABELS)
    expr = joined(expr, "target", " ", "server_address", "server_port")
    return f'sum by (id, source, target) ({joined(expr, "id", " > ", "source", "target")}) or {NONE}'


def nodes():
    ends = (joined(attempts(BY), "id", " ", *CONTAINER_LABELS), joined(attempts(f"by ({TO})"), "id", " ", "server_address", "server_port"))
    return " or ".join(f"sum by (id) ({end})" for end in ends) + f" or {NONE}"


def containers():
    return dashboard(
        "connscope-containers",
        "Containers",
        "Connections of containers and systemd services by destination, OOM kills and restarts. Empty where the source "
        "containers is switched off.",
        [
            panel(
                "Containers",
                "Running containers and services. Without a name: run connscope check, which says which files cannot be read.",
                "short",
                target(f"sum(connscope_containers_tracked{{{AGENT}}}) or {NONE}", "known"),
                target(f"sum(connscope_containers_unnamed{{{AGENT}}}) or {NONE}", "without a name"),
                kind="stat",
                width=6,
                height=5,
            ),
            panel(
                "Failed connection attempts",
                "Fraction of all attempts of all containers. One container that cannot reach one peer is below: runbook "
                "ContainerConnectsFailing.",
                "percentunit",
                target(
                    f"{rate('container_tcp_connections_total', 'by ()', event='failed')} / {attempts('by ()')} or {NONE}",
                    "failed",
                ),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (threshold("ContainerConnectsFailing"), "red")],
            ),
            panel(
                "OOM kills",
                "Killed processes in ten minutes. Runbook ContainerOomKilled.",
                "short",
                target(f"sum(increase(container_oom_kills_total{{{AGENT}}}[10m])) or {NONE}", "killed"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (1, "red")],
            ),
            panel(
                "Restarts",
                "Restarts in ten minutes. A deployment restarts each container once; a container in a restart loop is shown below: runbook "
                "ContainerRestarting.",
                "short",
                target(f"sum(increase(container_restarts_total{{{AGENT}}}[10m])) or {NONE}", "restarts"),
                kind="stat",
                width=6,
                height=5,
            ),
            row("Connections by group"),
            panel(
                "Connection attempts by container and destination",
                "Attempts per second, opened and failed. server_address is what the container asked for; ~public are public "
                "addresses, ~other all beyond the limit.",
                "suffix: /s",
                target(or_none(f"topk(100, {attempts(f'by ({NAME}, {TO})')})"), format="table", instant=True),
                kind="table",
                height=10,
                transformations=[columns({"Value": "Attempts"})],
            ),
            panel(
                "Graph of connections",
                "Node graph of the containers and the destinations they connect to.",
                "suffix: /s",
                target(edges(), format="table", instant=True),
                target(nodes(), format="table", instant=True),
                kind="nodeGraph",
                height=10,
                transformations=[columns({"Value": "mainstat", "Value #A": "mainstat", "Value #B": "mainstat"})],
            ),
            panel(
                "Known containers",
                "Image, runtime, id and control group of each container and service, for the names in the other panels.",
                "short",
                target(
                    f"max {BY[:-1]}, container_image_name, container_runtime_name, cgroup, instance) (container_info{{{AGENT}}}) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                width=24,
                transformations=[columns(hidden=("Time", "Value"))],
            ),
            panel(
                "Listeners",
                "Addresses and ports at which each container listens; one that is missing here accepts no connections.",
                "short",
                target(
                    f"max {BY[:-1]}, network_local_address, network_local_port) (container_tcp_listen{{{AGENT}}}) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                transformations=[columns(hidden=("Time", "Value"))],
            ),
            panel(
                "Applications",
                "Type of the application in each container, by its command lines: which database or proxy a name of the other "
                "panels is. A container of a program that is not known is not here.",
                "short",
                target(
                    f"max {BY[:-1]}, application_type) (container_application{{{AGENT}}}) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                transformations=[columns(hidden=("Time", "Value"))],
            ),
            row("Failures and quality"),
            panel(
                "Failed attempts by reason",
                "connection_refused: nothing listens. timeout: no answer. cancelled: the container gave up itself; a few are "
                f"normal. More than {percent(threshold('ContainerConnectsFailing'))} to one destination: runbook "
                "ContainerConnectsFailing." + SIXTEEN,
                "suffix: /s",
                target(
                    or_none(several(rate("container_tcp_connections_total", f"by ({NAME}, {TO}, error_type)", event="failed"))),
                    "{{error_type}} " + CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "Connections by event",
                "opened minus closed minus reset is the change in open connections. reset: ended by a reset of either end." + SIXTEEN,
                "suffix: /s",
                target(
                    or_none(several(rate("container_tcp_connections_total", f"by ({NAME}, event)"))), "{{event}} " + CONTAINER
                ),
            ),
            panel(
                "Open connections by destination",
                "One that only grows: connections that are not reused, or not closed." + SIXTEEN,
                "short",
                target(
                    or_none(several(latest("container_tcp_open_connections", f"by ({NAME}, {TO})"))),
                    CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "Time to connect, p95",
                "Of handshakes that succeeded. A second more is a SYN that was lost and retransmitted." + SIXTEEN,
                "s",
                target(
                    or_none(
                        several(
                            "histogram_quantile(0.95, "
                            + rate("container_tcp_connect_time_seconds_bucket", f"by (le, {NAME}, {TO})")
                            + ")"
                        )
                    ),
                    CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "Round-trip time by destination",
                "Mean of the smoothed round trips of connections that are open or ended since the last cycle." + SIXTEEN,
                "s",
                target(
                    or_none(several(latest("container_tcp_rtt_seconds", f"by ({NAME}, {TO})", "max"))),
                    CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "ICMP echo by address",
                "Round trip of the last echo, with `tcp.latency: icmp`; absent for an address that does not answer." + SIXTEEN,
                "s",
                target(
                    or_none(several(latest("container_icmp_rtt_seconds", f"by ({NAME}, network_peer_address)", "max"))),
                    CONTAINER + " {{network_peer_address}}",
                ),
            ),
            panel(
                "Retransmitted segments by destination",
                "Per second. One destination: the network path to it. All destinations of a node: its own link." + SIXTEEN,
                "suffix: segments/s",
                target(
                    or_none(several(rate("container_tcp_retransmits_total", f"by ({NAME}, {TO})"))),
                    CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "Retransmitted SYNs by destination",
                "Per second. Connections that begin have no answer for a second or more: the destination's accept queue is full, it is "
                "gone, or a firewall drops." + SIXTEEN,
                "suffix: SYNs/s",
                target(
                    or_none(several(rate("container_tcp_syn_retransmits_total", f"by ({NAME}, {TO})"))),
                    CONTAINER + " " + DESTINATION,
                ),
            ),
            panel(
                "Payload by container",
                "Of connections that the container opened, each byte once." + SIXTEEN,
                "Bps",
                target(
                    or_none(several(rate("container_tcp_io_bytes_total", f"by ({NAME}, network_io_direction)"))),
                    "{{network_io_direction}} " + CONTAINER,
                ),
            ),
            row("Waiting"),
            panel(
                "Time waited for CPUs",
                "Seconds per second, over all threads. Runbook ContainerCpuDelayed." + SIXTEEN,
                "suffix: s/s",
                target(or_none(several(rate("container_cpu_delay_time_seconds_total"))), CONTAINER),
                steps=[(None, "green"), (threshold("ContainerCpuDelayed"), "orange")],
            ),
            panel(
                "Time waited for disks",
                "Seconds per second, over all threads; nothing while kernel.task_delayacct is 0. Runbook ContainerDiskDelayed." + SIXTEEN,
                "suffix: s/s",
                target(or_none(several(rate("container_disk_delay_time_seconds_total"))), CONTAINER),
                steps=[(None, "green"), (threshold("ContainerDiskDelayed"), "orange")],
            ),
            *resources(),
            row("OOM kills and restarts"),
            panel(
                "OOM kills by container",
                "Killed processes in ten minutes, also if the container keeps running because its first process survived. Runbook "
                "ContainerOomKilled." + SIXTEEN,
                "short",
                target(or_none(several(growth("container_oom_kills_total"))), CONTAINER),
            ),
            panel(
                "Restarts by container",
                "Restarts in ten minutes. Runbook ContainerRestarting." + SIXTEEN,
                "short",
                target(or_none(several(growth("container_restarts_total"))), CONTAINER),
            ),
            panel(
                "Uptime",
                "Of the containers that were started last: the 16 lowest at each moment.",
                "s",
                target(or_none(f"bottomk(16, {latest('container_uptime_seconds', of='min')})"), CONTAINER),
            ),
            row("The source containers"),
            panel(
                "Known destinations",
                "sources.containers.tcp.total is the maximum; a destination is up to 18 series.",
                "short",
                target(f"max {BY_AGENT} (connscope_containers_destinations{{{AGENT}}}) or {NONE_YET}", WHO),
                width=8,
            ),
            panel(
                "Left out by limit",
                "By the limit that the key names. Runbook ConnscopeContainersLeftOut.",
                "suffix: /s",
                target(
                    f"sum by (key) (rate(connscope_containers_left_out_total{{{AGENT}}}[$__rate_interval])) or {NONE}",
                    "{{key}}",
                ),
                width=8,
            ),
            panel(
                "Events lost",
                "The ring buffer between the kernel and the agent was full. Runbook ConnscopeContainersEventsLost.",
                "suffix: events/s",
                target(
                    f"sum {BY_AGENT} (rate(connscope_containers_events_lost_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    WHO,
                ),
                width=8,
            ),
            panel(
                "Kernel memory",
                "Kernel memory of the BPF maps in which connections are counted.",
                "bytes",
                target(f"max {BY_AGENT} (connscope_containers_kernel_memory_usage_bytes{{{AGENT}}}) or {NONE_YET}", WHO),
            ),
            panel(
                "Read methods",
                "How each part is read on each node: bpf is exact; procfs, cgroup and taskstats are used if BPF programs cannot be loaded.",
                "short",
                target(
                    f"max by (job, instance, host_name, part, via) (connscope_containers_source{{{AGENT}}}) or {NONE_OF_AGENT}",
                    "{{part}} {{via}} " + WHO,
                ),
            ),
        ],
        netns=None,
    )
