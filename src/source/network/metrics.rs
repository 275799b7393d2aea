//! The metrics of the limits of the cloud, the card and the network stack.

use super::labels::{
    CPU, DROP, ICMP_SENT, ICMP_TYPE, INTERFACE, KEY, KIND, LIMIT, NETWORK_TYPE, QDISC, RESET, RULE, SAMPLED,
};
use crate::source::metrics::NETNS;

crate::metrics! {
    /// Packets that the cloud queued or dropped because the instance exceeded one of its limits, as the driver (ena) reports.
    INTERFACE_ALLOWANCE_EXCEEDED: Counter<u64> = "interface.allowance.exceeded" in "{packet}", by [INTERFACE, LIMIT];
    /// Connections that can still be opened before the cloud's limit of tracked connections is reached, as the driver (ena) reports.
    INTERFACE_ALLOWANCE_AVAILABLE: Gauge<u64> = "interface.allowance.available" in "{connection}", by [INTERFACE, LIMIT];
    /// Errors of network cards and their drivers: packets missed, without a buffer or without memory, and transmit queues that stood still.
    INTERFACE_ERRORS: Counter<u64> = "interface.errors" in "{error}", by [INTERFACE, KIND];
    /// Packets dropped by the root and ingress queueing disciplines of an interface: queue full, rate limited, or dropped by a filter.
    QDISC_DROPS: Counter<u64> = "qdisc.drops" in "{packet}", by [INTERFACE, QDISC];
    /// Packets dropped because the receive backlog of a CPU was full (net.core.netdev_max_backlog).
    SOFTNET_DROPPED: Counter<u64> = "softnet.dropped" in "{packet}", by [CPU];
    /// Times that a CPU stopped receiving with packets left: its budget or time was used up (net.core.netdev_budget).
    SOFTNET_TIME_SQUEEZE: Counter<u64> = "softnet.time_squeeze" in "{event}", by [CPU];
    /// SYN cookies sent because the SYN queue of a listening socket was full.
    TCP_SYNCOOKIES_SENT: Counter<u64> = "tcp.syncookies.sent" in "{segment}", by [NETNS];
    /// Valid SYN cookies received; each opens a connection, unless the accept queue is full.
    TCP_SYNCOOKIES_RECEIVED: Counter<u64> = "tcp.syncookies.received" in "{segment}", by [NETNS];
    /// Invalid SYN cookies received: the connection was refused after its client took it for open.
    TCP_SYNCOOKIES_FAILED: Counter<u64> = "tcp.syncookies.failed" in "{segment}", by [NETNS];
    /// SYNs dropped because the SYN queue of a listening socket was full and SYN cookies are disabled.
    TCP_SYN_QUEUE_DROPS: Counter<u64> = "tcp.syn_queue.drops" in "{segment}", by [NETNS];
    /// Times that a handshake could not end or begin because the accept queue of a listening socket was full.
    TCP_LISTEN_OVERFLOWS: Counter<u64> = "tcp.listen.overflows" in "{event}", by [NETNS];
    /// Connection attempts dropped by listening sockets for any reason, including a full accept queue.
    TCP_LISTEN_DROPS: Counter<u64> = "tcp.listen.drops" in "{event}", by [NETNS];
    /// Connections that skipped TIME_WAIT because there were too many (net.ipv4.tcp_max_tw_buckets).
    TCP_TIME_WAIT_OVERFLOWS: Counter<u64> = "tcp.time_wait.overflows" in "{connection}", by [NETNS];
    /// TCP connections that no process owns any more, in all network namespaces; above the limit the kernel resets them.
    TCP_ORPHANS_USAGE: UpDownCounter = "tcp.orphans.usage" in "{connection}";
    /// Maximum number of TCP connections that no process owns (net.ipv4.tcp_max_orphans).
    TCP_ORPHANS_LIMIT: UpDownCounter = "tcp.orphans.limit" in "{connection}";
    /// Connections reset for want of memory, or because there were too many that no process owns.
    TCP_ABORTS_ON_MEMORY: Counter<u64> = "tcp.aborts_on_memory" in "{connection}", by [NETNS];
    /// Times that TCP entered memory pressure (net.ipv4.tcp_mem): it then shrinks windows and drops what is out of order.
    TCP_MEMORY_PRESSURES: Counter<u64> = "tcp.memory_pressures" in "{event}", by [NETNS];
    /// Time that TCP spent under memory pressure; Linux 4.15.
    TCP_MEMORY_PRESSURE_TIME: Counter<f64> = "tcp.memory_pressure.time" in "s", by [NETNS];
    /// ICMP error messages received, by type.
    ICMP_ERRORS_RECEIVED: Counter<u64> = "icmp.errors.received" in "{packet}", by [ICMP_TYPE, NETNS, NETWORK_TYPE];
    /// Path MTU probes of TCP that were lost (net.ipv4.tcp_mtu_probing): the path takes smaller segments only.
    TCP_MTU_PROBES_FAILED: Counter<u64> = "tcp.mtu_probes.failed" in "{segment}", by [NETNS];
    /// Packets dropped because they did not fit into the next link and must not be fragmented.
    IP_FRAGMENTATION_FAILURES: Counter<u64> = "ip.fragmentation.failures" in "{packet}", by [NETNS, NETWORK_TYPE];
    /// Packets that rules of nftables with a counter dropped or rejected; with sources.network.rules.
    NETFILTER_RULE_PACKETS: Counter<u64> = "netfilter.rule.packets" in "{packet}", by [RULE];
    /// Packets that the kernel dropped, by its own name of the reason (enum skb_drop_reason); with sources.network.drops, Linux 5.17.
    NETWORK_PACKET_DROPS: Counter<u64> = "network.packet.drops" in "{packet}", by [DROP], history [from_zero];
    /// TCP resets sent, by the kernel's own name of the reason (enum sk_rst_reason, Linux 6.10), and received for a socket; with sources.network.drops.
    TCP_RESETS: Counter<u64> = "tcp.resets" in "{segment}", by [RESET], history [from_zero];
    /// ICMP error messages of IPv4 sent, by type and code (RFC 792); with sources.network.drops, Linux 6.10.
    ICMP_ERRORS_SENT: Counter<u64> = "icmp.errors.sent" in "{packet}", by [ICMP_SENT], history [from_zero];
    /// Packets that were estimated and not counted individually, because there were more than 8192 on a CPU in 67 ms.
    CONNSCOPE_NETWORK_SAMPLED: Counter<u64> = "connscope.network.sampled" in "{packet}", by [SAMPLED];
    /// Packets that sources.network.drops missed: no room for their series, or the program was running on that CPU already.
    CONNSCOPE_NETWORK_UNCOUNTED: Counter<u64> = "connscope.network.uncounted" in "{packet}";
    /// Items over a limit, by key: interfaces over 256, and rules of nftables over 200.
    CONNSCOPE_NETWORK_LEFT_OUT: Gauge<u64> = "connscope.network.left_out" in "{item}", by [KEY];
}
