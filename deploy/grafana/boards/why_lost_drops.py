"""The row of "Why packets are lost" about what the kernel says of the packets that it drops."""

from boards.why_lost_limits import NETNS, rates
from panels import row
from queries import AGENT, SIXTEEN, WHO

BY_REASON = "by (job, instance, host_name, netns, reason, network_transport, server_port)"
REASON = NETNS + " {{reason}} {{network_transport}} {{server_port}}"


def drops():
    return [
        row("The kernel drops, and says why"),
        rates(
            "Dropped by reason",
            "By the kernel's own reason, network namespace (pod or container) and port; with sources.network.drops. Do: docs/network.md says "
            "it for each reason; runbooks NetworkPacketsDropped, NetworkPacketsDenied." + SIXTEEN,
            "pps",
            "network_packet_drops_total",
            BY_REASON,
            REASON,
            width=12,
        ),
        rates(
            "Connections reset, and why",
            "Sent (transmit), with the kernel's reason, and received. NO_SOCKET: no socket listens. TCP_ABORT_ON_CLOSE: the application closed "
            "with unread data. TCP_KEEPALIVE_TIMEOUT: the peer or a device between forgot the connection. Do: docs/network.md." + SIXTEEN,
            "suffix: segments/s",
            "tcp_resets_total",
            "by (job, instance, host_name, netns, network_io_direction, reason, server_port)",
            NETNS + " {{network_io_direction}} {{reason}} {{server_port}}",
            width=12,
        ),
        rates(
            "Estimated instead of counted",
            "More than 122,000 a second on a CPU: one in 2, 4, 8, ... is counted, as that many. Do: the highest line of the panel Dropped by reason is the flood.",
            "pps",
            "connscope_network_sampled_total",
            "by (job, instance, host_name, kind)",
            WHO + " {{kind}}",
            width=12,
            labels=AGENT,
        ),
        rates(
            "Not counted by reason",
            "More than 1,024 combinations of reason, namespace and port, or the program was running on that CPU already and was skipped. Do: "
            "find the sender; a port scan causes many combinations.",
            "pps",
            "connscope_network_uncounted_total",
            "by (job, instance, host_name)",
            WHO,
            width=12,
            labels=AGENT,
        ),
    ]
