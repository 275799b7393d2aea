"""The rows of "Why packets are lost" about the cloud, the card and the queues of the network stack."""

from panels import panel, row, target
from queries import AGENT, BY_AGENT, IN_NETNS, NONE, NONE_YET, SIXTEEN, WHO, several
from rules import percent, threshold

BY_NETNS = "by (job, instance, host_name, netns)"
BY_INTERFACE = "by (job, instance, host_name, netns, network_interface_name"
NETNS = WHO + " {{netns}}"
GROUP = "{{direction}} {{peer_group}} {{server_port}} {{process_executable_name}}"
BY_GROUP = "by (direction, peer_group, server_port, process_executable_name)"
INTERFACE = NETNS + " {{network_interface_name}}"


def rates(title, description, unit, metric, by=BY_NETNS, legend=NETNS, width=8, labels=IN_NETNS):
    """Rates of a counter; flat at 0 where there is none."""
    rate = f"sum {by} (rate({metric}{{{labels}}}[$__rate_interval]))"
    return panel(title, description, unit, target(f"{several(rate)} or {NONE}", legend), width=width)


def cloud():
    nearly = threshold("NetworkAllowanceNearlyUsed")
    return [
        row("The cloud drops what exceeds its limits"),
        rates(
            "Packets over a limit of the cloud",
            "No counter of the kernel has them. Do: runbook NetworkAllowanceExceeded says it for each limit. AWS with the driver ena; "
            "empty elsewhere." + SIXTEEN,
            "pps",
            "interface_allowance_exceeded_total",
            BY_INTERFACE + ", limit)",
            INTERFACE + " {{limit}}",
            12,
        ),
        panel(
            "Connections left until the limit of the cloud",
            f"Do: below {percent(nearly)} of the maximum of the last day, runbook NetworkAllowanceNearlyUsed. The value of a second interface may not change. "
            "AWS with the driver ena.",
            "suffix: connections",
            target(
                f"bottomk(16, min {BY_INTERFACE}, limit) (interface_allowance_available{{{IN_NETNS}}})) or {NONE}",
                INTERFACE + " {{limit}}",
            ),
            width=12,
        ),
    ]


def rules():
    return [
        row("A firewall rule drops"),
        rates(
            "Packets that rules of nftables drop or reject",
            "By table, chain and comment; only rules with a counter in front of the verdict, with sources.network.rules. Do: "
            "`nft -a list chain` says what the rule matches; is it meant to?" + SIXTEEN,
            "pps",
            "netfilter_rule_packets_total",
            "by (job, instance, host_name, netns, family, table, chain, comment, verdict)",
            NETNS + " {{family}} {{table}} {{chain}} {{comment}} {{verdict}}",
            24,
        ),
    ]


def card():
    return [
        row("The card and the receiving CPUs do not keep up"),
        rates(
            "Errors of network cards",
            "missed, no_buffer: the CPUs take packets too slowly; do: larger rings (ethtool -G), more queues (ethtool -L). no_memory: the "
            "machine is short of memory. timeout: a driver or a device that hangs; update both." + SIXTEEN,
            "suffix: errors/s",
            "interface_errors_total",
            BY_INTERFACE + ", kind)",
            INTERFACE + " {{kind}}",
        ),
        rates(
            "Dropped before the network stack",
            "The backlog of a CPU is full. Do: spread interrupts over the CPUs (RPS, more queues), raise net.core.netdev_max_backlog.",
            "pps",
            "softnet_dropped_total",
            "by (job, instance, host_name, cpu)",
            WHO + " {{cpu}}",
            labels=AGENT,
        ),
        rates(
            "CPUs that stopped with packets left",
            "Nothing is lost yet; it comes before drops if it grows. Do: raise net.core.netdev_budget, spread interrupts.",
            "suffix: squeezes/s",
            "softnet_time_squeeze_total",
            "by (job, instance, host_name, cpu)",
            WHO + " {{cpu}}",
            labels=AGENT,
        ),
    ]


def queues():
    return [
        row("A queue in front of an interface is full"),
        rates(
            "Dropped by queueing disciplines",
            "The queue is full, or traffic is shaped or filtered (a bandwidth limit of a pod is a tbf). Do: "
            "`tc -s qdisc show dev NAME` says how full it is; raise the rate, or send less." + SIXTEEN,
            "pps",
            "qdisc_drops_total",
            BY_INTERFACE + ", qdisc)",
            INTERFACE + " {{qdisc}}",
            24,
        ),
    ]


def handshakes():
    return [
        row("The kernel refuses connections"),
        rates(
            "Full accept queues of all sockets",
            "As the kernel counts them for a network namespace. The row of the application that does not accept says whose. Do: runbook SocketsAcceptQueueOverflow.",
            "suffix: events/s",
            "tcp_listen_overflows_total",
        ),
        rates(
            "Connection attempts dropped for any reason",
            "Full accept queues included. Do: if the panel before is lower, look for want of memory (the panels below) and for a security module "
            "that refuses (the kernel's log).",
            "suffix: events/s",
            "tcp_listen_drops_total",
        ),
        rates(
            "SYNs dropped because the SYN queue is full",
            "Only where SYN cookies are disabled. Do: net.ipv4.tcp_syncookies=1.",
            "suffix: segments/s",
            "tcp_syn_queue_drops_total",
        ),
        rates(
            "SYN cookies sent",
            "A SYN queue is full. Do: compare with those received. As many: raise the backlog, net.core.somaxconn and "
            "net.ipv4.tcp_max_syn_backlog. Far fewer: a flood, block its sender.",
            "suffix: segments/s",
            "tcp_syncookies_sent_total",
        ),
        rates(
            "SYN cookies received",
            "Each opened a connection, unless the accept queue was full. Do: as many as sent are real clients, raise the backlog; far fewer are a flood, see the panel before.",
            "suffix: segments/s",
            "tcp_syncookies_received_total",
        ),
        rates(
            "SYN cookies that failed",
            f"Do: more than {threshold('NetworkSynCookiesFailed', 0):g} a second, runbook NetworkSynCookiesFailed.",
            "suffix: segments/s",
            "tcp_syncookies_failed_total",
        ),
        rates(
            "TIME_WAIT skipped",
            "More sockets than net.ipv4.tcp_max_tw_buckets: late segments may reach a new connection. Do: raise it, reuse connections.",
            "suffix: connections/s",
            "tcp_time_wait_overflows_total",
        ),
        panel(
            "Connections without an owner",
            "Share of net.ipv4.tcp_max_orphans. At 100 % the kernel resets them, data included. Do: find what closes sockets whose "
            "peers do not read.",
            "percentunit",
            target(
                f"max {BY_AGENT} (tcp_orphans_usage{{{AGENT}}}) / max {BY_AGENT} (tcp_orphans_limit{{{AGENT}}}) or {NONE_YET}", WHO
            ),
            width=8,
        ),
        rates(
            "Connections reset for want of memory",
            "TCP is over net.ipv4.tcp_mem, or too many connections have no owner. Do: fewer or smaller socket buffers, or raise it.",
            "suffix: connections/s",
            "tcp_aborts_on_memory_total",
        ),
        rates(
            "Memory pressure of TCP",
            "Times that TCP used more than the second number of net.ipv4.tcp_mem: windows shrink and segments out of order are dropped. Do: find "
            "the sockets with the fullest buffers (`ss -tm`); raise it if the machine has the memory.",
            "suffix: times/s",
            "tcp_memory_pressures_total",
            width=12,
        ),
        rates(
            "Share of time under memory pressure",
            "1 is all the time. Do: find the sockets with the fullest buffers (`ss -tm`), raise net.ipv4.tcp_mem. Linux 4.15.",
            "percentunit",
            "tcp_memory_pressure_time_seconds_total",
            width=12,
        ),
    ]


def path_messages():
    return [
        row("Routers and peers say why"),
        rates(
            "ICMP errors received",
            "destination_unreachable: a closed port, a route that is gone, or a firewall; of IPv4 also packets that are too big. packet_too_big: "
            "the path MTU is small, and this node knows it. time_exceeded: a routing loop. Do: `tcpdump -ni any icmp or icmp6` says who sends them "
            "and about which address; look there." + SIXTEEN,
            "pps",
            "icmp_errors_received_total",
            "by (job, instance, host_name, netns, icmp_type, network_type)",
            NETNS + " {{network_type}} {{icmp_type}}",
            12,
        ),
        rates(
            "ICMP errors sent",
            "By type and code (RFC 792). Do: of destination_unreachable code 3 is a closed port, is the service running? 0 and 1 no route, `ip route "
            "get`; 4 too big, the row above; 9, 10 and 13 denied, the row of the firewall. time_exceeded: a routing loop. Linux 6.10, IPv4." + SIXTEEN,
            "pps",
            "icmp_errors_sent_total",
            "by (job, instance, host_name, netns, icmp_type, icmp_code)",
            NETNS + " {{icmp_type}} {{icmp_code}}",
            12,
        ),
    ]


def path_mtu():
    return [
        row("The path takes smaller packets only"),
        panel(
            "Least path MTU",
            "Below that of the interface: a tunnel on the path. Timeouts on large transfers while it does not fall: ICMP messages "
            "that say so are dropped by a firewall. Do: let them through, or net.ipv4.tcp_mtu_probing=1.",
            "bytes",
            target(f"bottomk(16, min {BY_GROUP} (tcp_path_mtu_bytes{{{IN_NETNS}}})) or {NONE}", GROUP),
            width=8,
        ),
        rates(
            "Packets that do not fit and must not be fragmented",
            "This node forwards into a link with a smaller MTU. Do: the same MTU everywhere (pods, tunnels), or clamp the MSS.",
            "pps",
            "ip_fragmentation_failures_total",
            "by (job, instance, host_name, netns, network_type)",
            NETNS + " {{network_type}}",
        ),
        rates(
            "Path MTU probes lost",
            "TCP tried larger segments, which the path does not carry, with net.ipv4.tcp_mtu_probing. Do: nothing for a few, it goes on with smaller "
            "ones; if they never end, `tracepath HOST` finds the size, and the same MTU everywhere or a clamped MSS avoids the probes.",
            "suffix: segments/s",
            "tcp_mtu_probes_failed_total",
        ),
    ]
