"""TCP and UDP sockets."""

from panels import GROUPS, columns, dashboard, group_variable, panel, row, target
from queries import AGENT, BY_AGENT, IN_NETNS, NONE, NONE_OF_AGENT, NONE_YET, SIXTEEN, WHO, several, total
from rules import percent, threshold

BY = "by (${by:csv})"
GROUP = " ".join("{{" + each + "}}" for each in GROUPS)
HIGHEST = SIXTEEN + " What each line stands for is chosen under Group by."
RETRANSMITS = [(None, "green"), (0.02, "orange"), (threshold("SocketsRetransmitting"), "red")]
QUEUES = [(None, "green"), (threshold("SocketsAcceptQueueNearlyFull"), "orange"), (1, "red")]
# One more than the limit waits before the kernel drops; and a limit may be 0.
WAITING = "{by} (tcp_listen_queue_usage{{{of}}}) / (sum {by} (tcp_listen_queue_limit{{{of}}}) + 1)"


def rate_by(metric, by=BY, **chosen):
    more = "".join(f',{label}=~"{value}"' for label, value in chosen.items())
    return total(f"rate({metric}{{{IN_NETNS}{more}}}[$__rate_interval])", by)


def distribution(share, metric, by=None):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate_by(metric + '_bucket', f'by ({labels})')})"


def by_group(share, metric):
    return several(distribution(share, metric, "${by:csv}"))


def retransmitted(by=""):
    return f"{rate_by('tcp_retransmits_total', by)} / {rate_by('tcp_segments_total', by, network_io_direction='transmit')}"


def connections(state="", transport="tcp", by=""):
    chosen = f',network_transport="{transport}"' + (f',network_connection_state="{state}"' if state else "")
    return total(f"system_network_connection_count{{{IN_NETNS}{chosen}}}", by)


def worst(metric):
    labels = "job, instance, host_name, netns, " + ", ".join(
        f"network_{end}_{part}" for end in ("local", "peer") for part in ("address", "port")
    )
    return f"max by ({labels}) ({metric}{{{IN_NETNS}}}) or {NONE_OF_AGENT}"


def sockets():
    return dashboard(
        "connscope-sockets",
        "Sockets",
        "TCP and UDP sockets: connections, retransmissions, round-trip times and full queues. Empty where the source "
        "sockets is switched off.",
        [
            panel(
                "Connections",
                "Established TCP connections on all nodes shown. Compare with yesterday: twice as many for the "
                "same work are connections that are not reused or not closed.",
                "short",
                target(connections("established"), "established"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Retransmitted segments",
                "Fraction of all sent segments. Below 1 % is a good network, above 2 % is noticeable, above "
                f"{percent(threshold('SocketsRetransmitting'))} throughput collapses. Runbook "
                "SocketsRetransmitting.",
                "percentunit",
                target(retransmitted(), "retransmitted"),
                kind="stat",
                width=4,
                height=5,
                steps=RETRANSMITS,
            ),
            panel(
                "Round-trip time, p99",
                "99th percentile of all measurements. A jump in all groups is the network or a host short of CPU; "
                "in one group, the network path to those peers.",
                "s",
                target(distribution(0.99, "tcp_rtt_seconds"), "p99"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Failed or reset",
                "TCP connections per second that were never established or did not end in order. Runbooks "
                "SocketsConnectionsFailing and SocketsConnectionsReset.",
                "suffix: connections/s",
                target(rate_by("tcp_connections_total", "", event="failed|reset"), "failed or reset"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Accept queue utilization, maximum",
                "Connections waiting to be accepted, as a fraction of the limit. At 100 % the next attempt is "
                "dropped. Runbook SocketsAcceptQueueNearlyFull.",
                "percentunit",
                target(
                    f"max(sum {WAITING.format(by='by (job, instance, host_name, netns, server_port)', of=IN_NETNS)})",
                    "fullest",
                ),
                kind="gauge",
                width=4,
                height=5,
                steps=QUEUES,
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Dropped by full queues",
                "Connection attempts and UDP datagrams per second that arrived and were dropped, because the "
                "queue of their socket was full. Runbooks SocketsAcceptQueueOverflow and SocketsUdpDropping.",
                "suffix: /s",
                target(rate_by("tcp_listen_queue_overflow_total", ""), "attempts"),
                target(f"{rate_by('udp_drops_total', '')} or {NONE}", "datagrams"),
                kind="stat",
                width=4,
                height=5,
                steps=[
                    (None, "green"),
                    (threshold("SocketsAcceptQueueOverflow"), "orange"),
                    (threshold("SocketsUdpDropping"), "red"),
                ],
            ),
            row("Connections"),
            panel(
                "TCP sockets by state",
                "Every state, also at 0. close_wait grows: the application does not close (runbook "
                "SocketsNotClosed). syn_sent: peers that do not answer. syn_received: a SYN flood, or a full "
                "accept queue. time_wait is normal where connections are short.",
                "short",
                target(connections(by="by (network_connection_state)"), "{{network_connection_state}}"),
            ),
            panel(
                "Connections by event",
                "opened minus closed minus reset is the change in open connections; failed were never "
                "established. opened and closed both high: connections that are not reused.",
                "suffix: connections/s",
                target(rate_by("tcp_connections_total", "by (event)"), "{{event}}"),
            ),
            panel(
                "Open connections by group",
                "Established or closing. One group that grows: its clients do not reuse connections, or its "
                "server does not close them." + HIGHEST,
                "short",
                target(several(f"sum {BY} (tcp_open_connections{{{IN_NETNS}}})"), GROUP),
            ),
            panel(
                "Failed or reset by group",
                "failed: refused or unanswered. reset: ended by a reset of either end or a time-out. ~unknown: "
                "the kernel had cleared the port before the destroy event." + HIGHEST,
                "suffix: connections/s",
                target(several(rate_by("tcp_connections_total", f"{BY[:-1]}, event)", event="failed|reset")), "{{event}} " + GROUP),
            ),
            row("Round-trip times"),
            *[
                panel(
                    f"Round-trip time, {name}, by group",
                    f"{what} One measurement per connection for each interval in which data was acknowledged, and one when it "
                    f"closed; idle connections measure nothing.{HIGHEST}",
                    "s",
                    target(by_group(share, "tcp_rtt_seconds"), GROUP),
                    width=8,
                )
                for name, share, what in (
                    ("median", 0.5, "Half of the measurements are below."),
                    ("p95", 0.95, "Far above the median: queues in the network, or peers at different distances."),
                    ("p99", 0.99, "Only p99 high: loss, or a peer short of CPU."),
                )
            ],
            panel(
                "Minimum round-trip time by group",
                "Median of the minimum round-trip times of the kernel's last five minutes: the network path "
                "without queues. The difference to the round-trip time is queueing; if both rise together, the "
                "route has changed." + HIGHEST,
                "s",
                target(by_group(0.5, "tcp_rtt_min_seconds"), GROUP),
            ),
            panel(
                "Retransmitted segments by group",
                "Fraction of sent segments. The group tells where the loss is: one peer group, the network path "
                "to it; all groups, this host's own link. Runbook SocketsRetransmitting." + HIGHEST,
                "percentunit",
                target(several(retransmitted(BY)), GROUP),
                steps=RETRANSMITS,
            ),
            panel(
                "Congestion window by group",
                "Median, in segments; a connection starts with 10. Small where much is sent: loss keeps it small." + HIGHEST,
                "suffix: segments",
                target(by_group(0.5, "tcp_cwnd"), GROUP),
            ),
            panel(
                "Delivery rate by group",
                "Median of the most recent delivery rates. It is what the network delivered, not what it could "
                "have delivered to a sender with little to send." + HIGHEST,
                "Bps",
                target(by_group(0.5, "tcp_delivery_rate_bytes_per_second"), GROUP),
            ),
            row("Bytes"),
            panel(
                "Payload by direction",
                "TCP payload. Sent bytes count once, however often they were retransmitted. Less than the "
                "interface counts, which include headers; over loopback both ends are here, and everything is "
                "counted twice.",
                "Bps",
                target(rate_by("tcp_io_bytes_total", "by (network_io_direction)"), "{{network_io_direction}}"),
                width=8,
            ),
            panel(
                "Payload by group",
                "Sent and received together." + HIGHEST,
                "Bps",
                target(several(rate_by("tcp_io_bytes_total")), GROUP),
                width=8,
            ),
            panel(
                "Segments by direction",
                "Including retransmitted ones and those without data. Many more than the payload explains: small "
                "writes, or a lossy network.",
                "pps",
                target(rate_by("tcp_segments_total", "by (network_io_direction)"), "{{network_io_direction}}"),
                width=8,
            ),
            panel(
                "Limited time",
                "Fraction of the busy time. rwnd: the receiver does not read fast enough. sndbuf: the send buffer "
                "is too small for the network path (net.ipv4.tcp_wmem). The rest is limited by the network.",
                "percentunit",
                target(
                    f"{rate_by('tcp_limited_time_seconds_total', 'by (reason)')}"
                    f" / on () group_left () {rate_by('tcp_busy_time_seconds_total', '')}",
                    "{{reason}}",
                ),
            ),
            panel(
                "Limited time by group",
                "The same by group. rwnd of outgoing connections: the peer is slow; of incoming ones: the client "
                "is." + HIGHEST,
                "percentunit",
                target(
                    several(
                        f"{rate_by('tcp_limited_time_seconds_total', f'{BY[:-1]}, reason)')}"
                        f" / on (${{by:csv}}) group_left () {rate_by('tcp_busy_time_seconds_total')}"
                    ),
                    "{{reason}} " + GROUP,
                ),
            ),
            row("Accept queues"),
            panel(
                "Accept queue utilization",
                "At 100 % the kernel drops the next attempt, and the client retries after a second. The limit is "
                "the smaller of the application's backlog and net.core.somaxconn. Several sockets on one port are "
                "added up: one may be full before the sum is." + HIGHEST,
                "percentunit",
                target(several(f"sum {WAITING.format(by=BY, of=IN_NETNS)}"), GROUP),
                steps=QUEUES,
                width=8,
            ),
            panel(
                "Accept queue",
                "Established connections that no process has accepted yet. More than a few for long: the "
                "application is busy or stuck." + HIGHEST,
                "short",
                target(several(f"sum {BY} (tcp_listen_queue_usage{{{IN_NETNS}}})"), GROUP),
                width=8,
            ),
            panel(
                "Dropped connection attempts",
                "By listening sockets, usually because the accept queue was full. Each costs a client a second or "
                "more. Runbook SocketsAcceptQueueOverflow." + HIGHEST,
                "suffix: attempts/s",
                target(several(rate_by("tcp_listen_queue_overflow_total")), GROUP),
                width=8,
            ),
            row("UDP"),
            panel(
                "Dropped datagrams",
                "By UDP sockets, usually because the receive buffer was full: the application reads too slowly, "
                "or net.core.rmem_max is too small for its bursts. Groups that never dropped any have no line. "
                "Runbook SocketsUdpDropping." + HIGHEST,
                "pps",
                target(f"{several(rate_by('udp_drops_total'))} or {NONE}", GROUP),
                width=8,
            ),
            panel(
                "Bytes in UDP queues",
                "receive: arrived and not read yet. transmit: written and not transmitted yet. Drops follow a "
                "receive queue that stays full.",
                "bytes",
                target(
                    f"sum by (network_io_direction) (udp_queue_usage_bytes{{{IN_NETNS}}})", "{{network_io_direction}}"
                ),
                width=8,
            ),
            panel(
                "UDP sockets",
                "established: connected to a peer; closed: not connected, as a server's socket is. A number that "
                "only grows is a leak of file descriptors.",
                "short",
                target(
                    connections(transport="udp", by="by (network_connection_state)"), "{{network_connection_state}}"
                ),
                width=8,
            ),
            row("Worst flows"),
            panel(
                "Worst flows",
                "The flows that are worst at this moment, with their addresses, by sources.sockets.top.by. Empty "
                "(one row of zeros per agent) unless sources.sockets.top.count is set.",
                "short",
                *[
                    target(worst(metric), format="table", instant=True)
                    for metric in ("tcp_top_retransmits", "tcp_top_rtt_seconds", "tcp_top_queue_bytes")
                ],
                kind="table",
                width=24,
                overrides=[
                    {
                        "matcher": {"id": "byName", "options": name},
                        "properties": [{"id": "unit", "value": unit}],
                    }
                    for name, unit in (("Round-trip time", "s"), ("Queues", "bytes"))
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    columns(
                        {
                            "Value #A": "Retransmits",
                            "Value #B": "Round-trip time",
                            "Value #C": "Queues",
                        }
                    ),
                ],
            ),
            row("The source sockets"),
            panel(
                "Groups and tracked sockets",
                "A group is up to 90 series; sources.sockets.limit is the maximum number of groups. A tracked "
                "socket takes 88 bytes; sources.sockets.track is the maximum number of them.",
                "short",
                target(f"max {BY_AGENT} (connscope_sockets_groups{{{AGENT}}})", "groups " + WHO),
                target(f"max {BY_AGENT} (connscope_sockets_tracked{{{AGENT}}})", "tracked " + WHO),
            ),
            panel(
                "Sockets over a limit",
                "Grouped as ~other, because of the limit that the key names; with the key track counted by state "
                "only. Runbook ConnscopeSocketsLeftOut.",
                "suffix: sockets/s",
                target(
                    f"sum by (key) (rate(connscope_sockets_left_out_total{{{AGENT}}}[$__rate_interval]))", "{{key}}"
                ),
            ),
            panel(
                "Socket destroy events",
                "Received, and lost because the receive buffer was full: what those sockets did since the last "
                "cycle is not counted. Runbook ConnscopeSocketsEventsLost.",
                "suffix: events/s",
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_events_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    "received " + WHO,
                ),
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_events_lost_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    "lost " + WHO,
                ),
            ),
            panel(
                "Sockets without a process",
                "Where sockets are grouped by process and none was found: it was gone, of another user (CAP_DAC_READ_SEARCH and "
                "CAP_SYS_PTRACE are missing), or sources.sockets.process_budget was used up. Zero if sockets are not grouped by process.",
                "suffix: sockets/s",
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_unattributed_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    WHO,
                ),
            ),
        ],
        netns="system_network_connection_count",
        further=[group_variable()],
    )


# Probes
