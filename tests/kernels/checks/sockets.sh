# Sockets by state are those that `ss` lists.
peers listen 8000 listen6 8001 udp 8002 open 8000 5 open6 8001 4 shut 2 close 3
once "conntrack: {enabled: false}"
for pair in established=established listen=listening close_wait=close-wait fin_wait_2=fin-wait-2 time_wait=time-wait \
    syn_sent=syn-sent last_ack=last-ack fin_wait_1=fin-wait-1 closing=closing; do
    same "TCP ${pair%=*}" "$(ss -Htan state "${pair#*=}" | wc -l)" \
        "$(sum system_network_connection_count 'network_transport="tcp"' "network_connection_state=\"${pair%=*}\"")"
done
same "UDP" "$(ss -Huan | wc -l)" "$(sum system_network_connection_count 'network_transport="udp"')"
same "TCP over IPv6" "$(ss -Htan6 exclude time-wait | wc -l)" \
    "$(sum system_network_connection_count 'network_transport="tcp"' 'network_type="ipv6"')"
same "backlog of 8000" 64 "$(sum tcp_listen_queue_limit 'server_port="8000"')"
same "open connections to 8001" "$(ss -Htn6 state connected dport = :8001 | wc -l)" \
    "$(sum tcp_open_connections 'server_port="8001"' 'direction="outgoing"')"
