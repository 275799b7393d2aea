# Counters of the network stack by name, backlogs by CPU and queueing disciplines: what `nstat`, /proc and `tc` say.
echo 2 >/proc/sys/net/ipv4/tcp_syncookies
peers listen 8010 open 8010 3
once "conntrack: {enabled: false}, sockets: {enabled: false}"
for pair in SyncookiesSent=sent SyncookiesRecv=received SyncookiesFailed=failed; do
    same "${pair%=*}" "$(counted "TcpExt${pair%=*}")" "$(sum "tcp_syncookies_${pair#*=}_total")"
done
least "cookies" 3 "$(sum tcp_syncookies_sent_total)"
same "listen overflows" "$(counted TcpExtListenOverflows)" "$(sum tcp_listen_overflows_total)"
same "backlogs" "$(wc -l </proc/net/softnet_stat)" "$(grep -c '^softnet_dropped_total{' metrics)"
same "up" 1 "$(sum connscope_source_up 'source="network"')"
