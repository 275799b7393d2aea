# Accept queues that are full and receive buffers that are full: what `ss` and `nstat` say.
agent "conntrack: {enabled: false}"
overflows=$(counted TcpExtListenOverflows) drops=$(counted UdpRcvbufErrors)
perl -MSocket -e '
    my $to = sub { pack_sockaddr_in($_[0], inet_aton("127.0.0.1")) };
    socket(my $server, PF_INET, SOCK_STREAM, 0); bind($server, $to->(8006)) or die; listen($server, 1) or die;
    socket(my $reader, PF_INET, SOCK_DGRAM, 0); setsockopt($reader, SOL_SOCKET, SO_RCVBUF, 4096); bind($reader, $to->(8007)) or die;
    socket(my $writer, PF_INET, SOCK_DGRAM, 0);
    send($writer, "x" x 1000, 0, $to->(8007)) for 1 .. 50;
    my @clients;
    for (1 .. 6) { socket(my $client, PF_INET, SOCK_STREAM, 0); fcntl($client, 4, 2048); connect($client, $to->(8006)); push @clients, $client }
    $| = 1; print "done\n"; sleep 60' >queues &
until grep -qs 'done' queues; do sleep 0.2; done
on() { scrape "$1" "server_port=\"$2\"" 'direction="incoming"'; }
drops=$(($(counted UdpRcvbufErrors) - drops))
least "nstat: datagrams dropped" 10 $drops
until_same "datagrams dropped" $drops scrape udp_drops_total 'server_port="8007"'
same "accept queue" "$(ss -Htln sport = :8006 | awk '{ print $2 }')" "$(on tcp_listen_queue_usage 8006)"
least "accept queue" 2 "$(on tcp_listen_queue_usage 8006)"
same "its limit" 1 "$(on tcp_listen_queue_limit 8006)"
# The clients try again, so the figure moves on; the agent's is between two looks.
overflowed() {
    local before=$(counted TcpExtListenOverflows) got=$(on tcp_listen_queue_overflow_total 8006)
    local after=$(counted TcpExtListenOverflows)
    [ $((before - overflows)) -le "$got" ] && [ "$got" -le $((after - overflows)) ] && [ "$got" -gt 0 ] && echo between ||
        echo "$((before - overflows)) to $((after - overflows)), and got $got"
}
until_same "overflows" between overflowed
