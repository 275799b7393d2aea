//! The metrics of the sockets.

use super::labels::{EVENT, FLOW, GROUP, KEY, LIMITED, NETWORK_TYPE, STATE, TOP, TRANSPORT};
use crate::metric::buckets::ROUND_TRIPS;
use crate::source::metrics::{IO_DIRECTION, NETNS};

/// Bucket bounds of rates in bytes a second: from a modem's to 100 Gbit/s.
const RATES: &[f64] = &[1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1.25e10];

/// Bucket bounds of the time to connect, seconds: those of `container.tcp.connect.time`, and those of the third and the
/// fourth SYN.
const CONNECT_TIMES: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Bucket bounds of the time in the accept queue, seconds: from a busy event loop to the time-out of a client.
const WAITS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Bucket bounds of congestion windows in segments; a connection begins with 10.
const WINDOWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 10.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Default bucket bounds of round-trip times in the classic profile, milliseconds: those of prometheus_ss_exporter 3.
pub const CLASSIC_ROUND_TRIPS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0,
];

crate::metrics! {
    /// Sockets by state; every TCP state is reported, even if it is 0; sockets in TIME_WAIT have no network.type unless a filter is set.
    SYSTEM_NETWORK_CONNECTION_COUNT: UpDownCounter = "system.network.connection.count" in "{connection}", by [NETNS, STATE, TRANSPORT, NETWORK_TYPE];
    /// Smoothed round-trip time of TCP connections: one value per connection for each interval with data acknowledged, and one when it closes.
    TCP_RTT: Histogram = "tcp.rtt" in "s", by [GROUP], buckets ROUND_TRIPS, history [listed];
    /// Minimum round-trip time of TCP connections in the kernel's window (net.ipv4.tcp_min_rtt_wlen, 5 minutes), recorded when tcp.rtt is.
    TCP_RTT_MIN: Histogram = "tcp.rtt.min" in "s", by [GROUP], buckets ROUND_TRIPS;
    /// TCP segments retransmitted, including SYNs.
    TCP_RETRANSMITS: Counter<u64> = "tcp.retransmits" in "{segment}", by [GROUP], history [from_zero, listed];
    /// SYNs retransmitted on TCP connections that this machine opened, as far as reads of the sockets tell them apart (coarser than container.tcp.syn_retransmits); also counted in tcp.retransmits; Linux 4.19.
    TCP_SYN_RETRANSMITS: Counter<u64> = "tcp.syn_retransmits" in "{segment}", by [GROUP], history [from_zero];
    /// Time from the first SYN until its answer on TCP connections that this machine opened, estimated at the first read of each that has sent at most 4 segments with data (coarser than container.tcp.connect.time); Linux 4.19.
    TCP_CONNECT_TIME: Histogram = "tcp.connect.time" in "s", by [GROUP], buckets CONNECT_TIMES;
    /// TCP segments sent and received, including retransmitted ones and those without data.
    TCP_SEGMENTS: Counter<u64> = "tcp.segments" in "{segment}", by [GROUP, IO_DIRECTION], history [from_zero, listed, divided_by IoDirection];
    /// TCP payload bytes sent and received; retransmitted bytes count once.
    TCP_IO: Counter<u64> = "tcp.io" in "By", by [GROUP, IO_DIRECTION], history [from_zero];
    /// TCP connections by event: opened, closed in order, reset, or failed (never established).
    TCP_CONNECTIONS: Counter<u64> = "tcp.connections" in "{connection}", by [GROUP, EVENT], history [from_zero, listed, divided_by Event];
    /// Open TCP connections: established or closing.
    TCP_OPEN_CONNECTIONS: UpDownCounter = "tcp.open_connections" in "{connection}", by [GROUP], history [listed];
    /// Time in which TCP connections had data to send.
    TCP_BUSY_TIME: Counter<f64> = "tcp.busy.time" in "s", by [GROUP], history [from_zero];
    /// Part of tcp.busy.time in which the receiver's window (rwnd) or the send buffer (sndbuf) limited a connection.
    TCP_LIMITED_TIME: Counter<f64> = "tcp.limited.time" in "s", by [GROUP, LIMITED], history [from_zero];
    /// Most recent delivery rate of TCP connections, recorded when tcp.rtt is.
    TCP_DELIVERY_RATE: Histogram = "tcp.delivery_rate" in "By/s", by [GROUP], buckets RATES;
    /// Congestion window of TCP connections, recorded when tcp.rtt is.
    TCP_CWND: Histogram = "tcp.cwnd" in "{segment}", by [GROUP], buckets WINDOWS;
    /// Retransmission timeouts of TCP connections, including those of SYNs; Linux 6.7.
    TCP_RETRANSMISSION_TIMEOUTS: Counter<u64> = "tcp.retransmission_timeouts" in "{timeout}", by [GROUP], history [from_zero];
    /// Time in which TCP connections recovered from retransmission timeouts; Linux 6.7.
    TCP_RETRANSMISSION_TIMEOUT_TIME: Counter<f64> = "tcp.retransmission_timeout.time" in "s", by [GROUP], history [from_zero];
    /// TCP segments sent that the receiver had already (duplicate SACK): most were retransmitted needlessly; Linux 4.19.
    TCP_RETRANSMITS_SPURIOUS: Counter<u64> = "tcp.retransmits.spurious" in "{segment}", by [GROUP], history [from_zero];
    /// TCP segments received out of order: an earlier one was lost or overtaken; Linux 5.4.
    TCP_SEGMENTS_OUT_OF_ORDER: Counter<u64> = "tcp.segments.out_of_order" in "{segment}", by [GROUP], history [from_zero];
    /// Times that acknowledgements showed segments sent to have been reordered on the network path; Linux 4.19.
    TCP_SEGMENTS_REORDERED: Counter<u64> = "tcp.segments.reordered" in "{event}", by [GROUP], history [from_zero];
    /// TCP segments sent and delivered that a router marked as having met congestion (ECN CE); Linux 4.18.
    TCP_SEGMENTS_ECN_MARKED: Counter<u64> = "tcp.segments.ecn_marked" in "{segment}", by [GROUP], history [from_zero];
    /// TCP connections with unsent data whose peer advertises a receive window of 0 now; Linux 5.4.
    TCP_ZERO_WINDOW_CONNECTIONS: UpDownCounter = "tcp.zero_window_connections" in "{connection}", by [GROUP];
    /// TCP connections with unacknowledged data whose retransmission timeout expired three times in a row or more, now.
    TCP_STALLED_CONNECTIONS: UpDownCounter = "tcp.stalled_connections" in "{connection}", by [GROUP];
    /// Least path MTU of the open TCP connections.
    TCP_PATH_MTU: Gauge<u64> = "tcp.path_mtu" in "By", by [GROUP];
    /// Connections waiting in the accept queues of listening sockets.
    TCP_LISTEN_QUEUE_USAGE: UpDownCounter = "tcp.listen.queue.usage" in "{connection}", by [GROUP], history [listed];
    /// Maximum length of the accept queues (the backlog); the kernel admits one connection more before it drops.
    TCP_LISTEN_QUEUE_LIMIT: UpDownCounter = "tcp.listen.queue.limit" in "{connection}", by [GROUP], history [listed];
    /// Connection attempts dropped by listening sockets, usually because the accept queue was full.
    TCP_LISTEN_QUEUE_OVERFLOW: Counter<u64> = "tcp.listen.queue.overflow" in "{connection}", by [GROUP], history [from_zero, listed];
    /// Longest time that a connection in an accept queue has waited to be accepted so far; 0 where none waits.
    TCP_ACCEPT_OLDEST: Gauge<f64> = "tcp.accept.oldest" in "s", by [GROUP];
    /// How long connections in accept queues had waited: one value per connection for each cycle that finds it waiting, so short waits are mostly missed.
    TCP_ACCEPT_WAIT: Histogram = "tcp.accept.wait" in "s", by [GROUP], buckets WAITS;
    /// Connections that their clients closed, or closed for sending, before the application accepted them, as seen once per cycle; not those that were reset.
    TCP_ACCEPT_ABANDONED: Counter<u64> = "tcp.accept.abandoned" in "{connection}", by [GROUP], history [from_zero];
    /// Datagrams dropped by UDP sockets, usually because the receive buffer was full.
    UDP_DROPS: Counter<u64> = "udp.drops" in "{packet}", by [GROUP], history [from_zero];
    /// Bytes in the queues of UDP sockets: received but not read yet, or sent but not transmitted yet.
    UDP_QUEUE_USAGE: UpDownCounter = "udp.queue.usage" in "By", by [NETNS, IO_DIRECTION, NETWORK_TYPE];
    /// Segments retransmitted since the previous cycle, for the flows selected by sources.sockets.top.
    TCP_TOP_RETRANSMITS: Gauge<u64> = "tcp.top.retransmits" in "{segment}", by [TOP];
    /// Smoothed round-trip time of the flows selected by sources.sockets.top.
    TCP_TOP_RTT: Gauge<f64> = "tcp.top.rtt" in "s", by [TOP];
    /// Bytes unsent, unacknowledged or unread, for the flows selected by sources.sockets.top.
    TCP_TOP_QUEUE: Gauge<u64> = "tcp.top.queue" in "By", by [TOP];
    /// Smoothed round-trip time of a flow in milliseconds.
    TCP_FLOW_RTT: Gauge<f64> = "tcp.flow.rtt" in "ms", by [FLOW],
        only classic "tcp_rtt" "tcp socket stats perflow latency[rtt]";
    /// Congestion window of a flow.
    TCP_FLOW_CWND: Gauge<u64> = "tcp.flow.cwnd" in "{segment}", by [FLOW],
        only classic "tcp_cwnd" "tcp socket perflow congestionwindow stats";
    /// Most recent delivery rate of a flow.
    TCP_FLOW_DELIVERY_RATE: Gauge<u64> = "tcp.flow.delivery_rate" in "By/s", by [FLOW],
        only classic "tcp_delivery_rate" "tcp socket perflow delivery rate in bytes a second";
    /// Data segments received by a flow.
    TCP_FLOW_DATA_SEGS_IN: Counter<u64> = "tcp.flow.data_segs_in" in "{segment}", by [FLOW],
        only classic "tcp_data_segs_in" "tcp socket perflow data segments received";
    /// Data segments sent by a flow.
    TCP_FLOW_DATA_SEGS_OUT: Counter<u64> = "tcp.flow.data_segs_out" in "{segment}", by [FLOW],
        only classic "tcp_data_segs_out" "tcp socket perflow data segments sent";
    /// Flows that match the selection, including those over the limit.
    TCP_FLOWS: Gauge<u64> = "tcp.flows" in "{flow}",
        only classic "tcp_flows_total" "tcp flows that the selection lets through";
    /// Smoothed round-trip time of the selected flows in milliseconds, recorded when tcp.rtt is.
    TCP_FLOW_RTT_HISTOGRAM: Histogram = "tcp.flow.rtt.histogram" in "ms", buckets CLASSIC_ROUND_TRIPS,
        only classic "tcp_rtt_hist_ms" "tcp flowslatency outline";
    /// Selected flows not shown because sources.sockets.classic.limit was reached, counted in every cycle.
    TCP_FLOWS_LEFT_OUT: Counter<u64> = "tcp.flows.left_out" in "{flow}",
        only classic "tcp_flows_left_out" "tcp flows left out because of the limit, counted from 0 in every collection";
    /// Sockets whose counters are kept from one cycle to the next.
    CONNSCOPE_SOCKETS_TRACKED: UpDownCounter = "connscope.sockets.tracked" in "{socket}";
    /// Groups of sockets.
    CONNSCOPE_SOCKETS_GROUPS: UpDownCounter = "connscope.sockets.groups" in "{group}";
    /// Sockets over a limit, by key: counted in the group ~other; counted by state only (key track, in every cycle); not counted because the destroy event has too little for the filter (key filter); or of uncertain direction (key direction).
    CONNSCOPE_SOCKETS_LEFT_OUT: Counter<u64> = "connscope.sockets.left_out" in "{socket}", by [KEY];
    /// Sockets whose process was not found: it has exited, cannot be inspected, or the time budget was exceeded.
    CONNSCOPE_SOCKETS_UNATTRIBUTED: Counter<u64> = "connscope.sockets.unattributed" in "{socket}";
    /// Socket destroy events received from the kernel.
    CONNSCOPE_SOCKETS_EVENTS: Counter<u64> = "connscope.sockets.events" in "{event}";
    /// Lost socket destroy events: the receive buffer was full, and the last counts of those sockets are missing.
    CONNSCOPE_SOCKETS_EVENTS_LOST: Counter<u64> = "connscope.sockets.events.lost" in "{event}";
}
