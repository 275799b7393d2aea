# Retransmits and connections that nobody answers are those of `nstat`.
agent "conntrack: {enabled: false}"
nft add table inet t
nft add chain inet t c '{ type filter hook output priority 0; }'
nft add rule inet t c tcp dport 8005 drop
before=$(counted TcpRetransSegs)
syns=$(counted TcpExtTCPSynRetrans)
peers unanswered 8005 4
kill $peers
of() { scrape "$1" 'server_port="8005"' 'direction="outgoing"'; }
least "nstat: retransmitted" 2 "$(($(counted TcpRetransSegs) - before))"
until_same "retransmitted" "$(($(counted TcpRetransSegs) - before))" of tcp_retransmits_total
until_same "all of them SYNs" "$(($(counted TcpExtTCPSynRetrans) - syns))" of tcp_syn_retransmits_total
failed() { scrape tcp_connections_total 'server_port="8005"' 'event="failed"'; }
until_same "failed" 1 failed
# A field that the kernel does not send is absent: of these kernels all have the others.
scrape tcp_stalled_connections >/dev/null
for name in tcp_segments_ecn_marked_total tcp_retransmits_spurious_total tcp_segments_reordered_total tcp_segments_out_of_order_total; do
    least "$name" 0 "$(sum $name)"
done
if since 6.7; then
    least "timeouts, of SYNs too" 1 "$(sum tcp_retransmission_timeouts_total)"
else
    same "timeouts, which come with 6.7" none "$(sum tcp_retransmission_timeouts_total)"
    same "their time, which comes with 6.7" none "$(sum tcp_retransmission_timeout_time_seconds_total)"
fi
