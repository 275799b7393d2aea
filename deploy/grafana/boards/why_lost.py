"""Why packets are lost: one row for each cause, in the order of docs/packet-loss.md."""

from boards import why_lost_drops, why_lost_limits
from boards.why_lost_limits import BY_GROUP, GROUP
from panels import dashboard, panel, row, target
from queries import IN_NETNS, NONE, NONE_YET, SIXTEEN, WHO, several, total
from rules import percent, threshold

BY_SERVICE = "by (job, instance, host_name, netns, server_port, process_executable_name)"
SERVICE = "{{host_name}} {{instance}} {{netns}} {{server_port}} {{process_executable_name}}"


def grown(metric, by):
    return total(f"rate({metric}{{{IN_NETNS}}}[$__rate_interval])", by)


def now(metric, by):
    return total(f"{metric}{{{IN_NETNS}}}", by)


def by_group(title, description, unit, metric, expr=grown):
    return panel(title, description + SIXTEEN, unit, target(f"{several(expr(metric, BY_GROUP))} or {NONE}", GROUP), width=8)


def dropped(title, description, unit, metric):
    per_node = f"sum by (job, instance, host_name, netns) (rate({metric}{{{IN_NETNS}}}[$__rate_interval]))"
    return panel(title, description, unit, target(f"{several(per_node)} or {NONE_YET}", WHO + " {{netns}}"), width=8)


def why_lost():
    return dashboard(
        "connscope-why-lost",
        "Why packets are lost",
        "One row for each cause. Read it from the top: the first row that is not flat is the first to act on. Empty panels are sources "
        "that are switched off, or kernels that do not count it.",
        [
            *why_lost_drops.drops(),
            row("The connection tracking table drops"),
            dropped(
                "Dropped by connection tracking",
                "The table is full, or entries clash. Do: runbook ConntrackDropping; the dashboard of drops and errors says which.",
                "pps",
                "conntrack_drop_total",
            ),
            dropped(
                "Entries not inserted",
                "The first packet of a connection is lost: two packets of one connection clashed (DNS over UDP), or the ports of the "
                "translated address are used up. Do: runbook ConntrackInsertFailed.",
                "suffix: entries/s",
                "conntrack_insert_failed_total",
            ),
            dropped(
                "Entries evicted",
                "The table was full. Do: raise net.netfilter.nf_conntrack_max, runbook ConntrackTableNearlyFull.",
                "suffix: entries/s",
                "conntrack_early_drop_total",
            ),
            *why_lost_limits.rules(),
            *why_lost_limits.cloud(),
            row("The application does not accept"),
            panel(
                "Dropped connection attempts",
                "The accept queue of a listening socket is full. Do: runbook SocketsAcceptQueueOverflow." + SIXTEEN,
                "suffix: attempts/s",
                target(f"{several(grown('tcp_listen_queue_overflow_total', BY_SERVICE))} or {NONE_YET}", SERVICE),
                width=8,
            ),
            panel(
                "Longest wait for accept",
                "Of connections that wait now. The client is connected and has no answer. Do: above "
                f"{threshold('SocketsAcceptSlow'):g} s, runbook SocketsAcceptSlow." + SIXTEEN,
                "s",
                target(f"topk(16, max {BY_SERVICE} (tcp_accept_oldest_seconds{{{IN_NETNS}}})) or {NONE_YET}", SERVICE),
                steps=[(None, "green"), (threshold("SocketsAcceptSlow"), "red")],
                width=8,
            ),
            panel(
                "Clients that gave up waiting",
                "They closed before the application accepted them. Do: runbook SocketsAcceptSlow." + SIXTEEN,
                "suffix: connections/s",
                target(f"{several(grown('tcp_accept_abandoned_total', BY_SERVICE))} or {NONE_YET}", SERVICE),
                width=8,
            ),
            panel(
                "How long connections had waited for accept",
                "Of those that cycles found waiting, p95: short waits are mostly missed. Do: compare it with itself over time; if it rises, runbook "
                "SocketsAcceptSlow." + SIXTEEN,
                "s",
                target(
                    several(
                        "histogram_quantile(0.95, "
                        + grown("tcp_accept_wait_seconds_bucket", BY_SERVICE.replace("(", "(le, "))
                        + ")"
                    ),
                    SERVICE,
                ),
                width=24,
            ),
            row("The application does not read datagrams"),
            panel(
                "Datagrams dropped by UDP sockets",
                "The receive buffer is full. Do: runbook SocketsUdpDropping." + SIXTEEN,
                "pps",
                target(f"{several(grown('udp_drops_total', BY_SERVICE))} or {NONE_YET}", SERVICE),
                width=24,
            ),
            row("The other end does not read, or is gone"),
            by_group(
                "Windows of 0",
                "Connections with data to send whose peer does not read. Do: look at the peer, the network is fine. Linux 5.4.",
                "suffix: connections",
                "tcp_zero_window_connections",
                expr=now,
            ),
            by_group(
                "Stalled connections",
                "Unacknowledged data after three timeouts in a row. Do: is the peer up, and does a firewall still know the connection?",
                "suffix: connections",
                "tcp_stalled_connections",
                expr=now,
            ),
            panel(
                "Failed connection attempts",
                "Refused, unreachable, or not answered. Do: runbook SocketsConnectionsFailing." + SIXTEEN,
                "suffix: attempts/s",
                target(
                    several(
                        f'sum {BY_GROUP} (rate(tcp_connections_total{{{IN_NETNS},event="failed"}}[$__rate_interval]))'
                    )
                    + f" or {NONE}",
                    GROUP,
                ),
                width=8,
            ),
            *why_lost_limits.handshakes(),
            *why_lost_limits.card(),
            *why_lost_limits.queues(),
            row("The network path loses segments"),
            by_group(
                "Retransmission timeouts",
                "No acknowledgement came: each stops a connection for 200 ms or more. Do: more than "
                f"{percent(threshold('SocketsRetransmissionTimeouts'))} of the segments sent, runbook SocketsRetransmissionTimeouts. "
                "Linux 6.7.",
                "suffix: timeouts/s",
                "tcp_retransmission_timeouts_total",
            ),
            by_group(
                "Time in recovery from timeouts",
                "Seconds per second, of all connections of a group: how many stand still because of timeouts on average. Do: runbook "
                "SocketsRetransmissionTimeouts. Linux 6.7.",
                "short",
                "tcp_retransmission_timeout_time_seconds_total",
            ),
            by_group(
                "Retransmitted segments",
                "Without timeouts: single losses, repaired within a round trip. Do: runbook SocketsRetransmitting.",
                "suffix: segments/s",
                "tcp_retransmits_total",
            ),
            by_group(
                "Spurious retransmits",
                "The receiver had the segment already: acknowledgements are lost or late, not data. Do: look at the path back, and at a "
                "peer that is short of CPU. Linux 4.19.",
                "suffix: segments/s",
                "tcp_retransmits_spurious_total",
            ),
            by_group(
                "Received out of order",
                "What peers send to this node is lost or overtaken on its path. Do: compare peers; one means its path, all mean this "
                "node's link or its receive queues. Linux 5.4.",
                "suffix: segments/s",
                "tcp_segments_out_of_order_total",
            ),
            by_group(
                "Reordering seen",
                "Acknowledgements showed that segments overtook each other: several links or paths share the load per packet. Do: share "
                "it per flow. Linux 4.19.",
                "suffix: events/s",
                "tcp_segments_reordered_total",
            ),
            by_group(
                "Marked by routers (ECN)",
                "A queue on the path is congested and marks instead of dropping. Do: nothing here; the sender slows down. Linux 4.18.",
                "suffix: segments/s",
                "tcp_segments_ecn_marked_total",
            ),
            by_group(
                "Retransmitted SYNs",
                "Connections that begin have no answer for a second or more. Without losses of established connections: the peer's accept "
                "queue is full, or a firewall drops. Do: look at the peer's tcp.listen.queue.overflow, and at the dashboard of containers "
                "for whose they are. Linux 4.19.",
                "suffix: SYNs/s",
                "tcp_syn_retransmits_total",
            ),
            panel(
                "Time to connect, p95",
                "Of outgoing connections, estimated. A second more is a SYN that was lost. Do: as for retransmitted SYNs; without them, "
                "compare with the round trip. Linux 4.19." + SIXTEEN,
                "s",
                target(
                    several(
                        "histogram_quantile(0.95, "
                        + grown("tcp_connect_time_seconds_bucket", BY_GROUP.replace("(", "(le, "))
                        + ")"
                    )
                    + f" or {NONE}",
                    GROUP,
                ),
                width=8,
            ),
            *why_lost_limits.path_mtu(),
            *why_lost_limits.path_messages(),
        ],
        netns="system_network_connection_count",
    )
