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
            "it for each reason." + SIXTEEN,
            "pps",
            "network_packet_drops_total",
            BY_REASON,
            REASON,
        ),
        rates(
            "Estimated instead of counted",
            "More than 122,000 a second on a CPU: one in 2, 4, 8, ... is looked at and counts for as many. Do: the highest line of the panel "
            "beside it is what floods the machine.",
            "pps",
            "connscope_network_sampled_total",
            "by (job, instance, host_name, kind)",
            WHO + " {{kind}}",
            labels=AGENT,
        ),
        rates(
            "Not counted by reason",
            "There was no room: more than 1,024 combinations of reason, namespace and port. Do: a scan of ports makes many; who sends "
            "it?",
            "pps",
            "connscope_network_uncounted_total",
            "by (job, instance, host_name)",
            WHO,
            labels=AGENT,
        ),
    ]
