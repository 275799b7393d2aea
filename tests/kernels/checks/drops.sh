# Packets dropped by the kernel's reason, resets and ICMP errors: what was done here. An older kernel gives no reasons.
sources="conntrack: {enabled: false}, sockets: {enabled: false}, network: {drops: true}"
if ! since 5.17; then
    echo "sources: {$sources}" >check.yaml
    connscope check --config check.yaml >said 2>&1 || true
    has "no reasons" "Linux 5.17" said
    connscope once --config check.yaml --format prometheus >metrics 2>once.log || true
    same "up" 1 "$(sum connscope_source_up 'source="network"')"
    exit
fi
agent "$sources"
peers refused 8019 4
perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 0); send(S, "x", 0, sockaddr_in(8020, inet_aton("127.0.0.1"))) for 1..3'
until_same "closed port of TCP" 4 scrape network_packet_drops_total 'reason="NO_SOCKET"' 'network_transport="tcp"' 'server_port="8019"'
until_same "closed port of UDP" 3 scrape network_packet_drops_total 'reason="NO_SOCKET"' 'network_transport="udp"' 'server_port="8020"'
# Before, resets without a socket are not reported.
! since 6.10 || until_same "resets sent" 4 scrape tcp_resets_total 'network_io_direction="transmit"' 'server_port="8019"' 'reason="NO_SOCKET"'
until_same "resets received" 4 scrape tcp_resets_total 'network_io_direction="receive"' 'server_port="8019"'
! since 6.10 || until_same "ICMP errors" 3 scrape icmp_errors_sent_total 'icmp_code="3"'
same "all of them counted" 0 "$(sum connscope_network_sampled_total 'kind="drop"')"
# Without acceleration the programs take longer to load than the first cycle may.
same "log" "" "$(grep -v "no answer within 5s" agent.log || true)"
