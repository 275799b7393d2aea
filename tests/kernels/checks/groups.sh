# Sockets by control group and by process, as `ss` says whose they are.
mkdir -p /sys/fs/cgroup/shop
echo 0 >/sys/fs/cgroup/shop/cgroup.procs
peers listen 8000 open 8000 3
echo 0 >/sys/fs/cgroup/cgroup.procs
once "conntrack: {enabled: false}, sockets: {group_by: [direction, cgroup, process]}"
same "open" "$(ss -Htnp state established dport = :8000 | grep -c '"perl"')" \
    "$(sum tcp_open_connections 'cgroup="/shop"' 'process_executable_name="perl"' 'direction="outgoing"')"
same "elsewhere" 0 "$(sum tcp_open_connections | awk -v of="$(sum tcp_open_connections 'cgroup="/shop"')" '{ print $1 - of }')"
# A connection that nobody has accepted yet is of nobody: kernels before 6.17 say that it is root's.
perl -MSocket -e '
    my $to = pack_sockaddr_in(8030, inet_aton("127.0.0.1"));
    $> = 33; socket(my $server, PF_INET, SOCK_STREAM, 0); bind($server, $to) or die; listen($server, 8) or die; $> = 0;
    socket(my $client, PF_INET, SOCK_STREAM, 0); connect($client, $to) or die;
    $| = 1; print "done\n"; sleep 60' >waits &
until grep -qs 'done' waits; do sleep 0.2; done
once "conntrack: {enabled: false}, sockets: {group_by: [direction, service_port, uid]}"
of() { sum "$1" 'server_port="8030"' 'direction="incoming"' "user_id=\"$2\""; }
same "the listening socket has it in its queue" 1 "$(of tcp_listen_queue_usage 33)"
same "its wait" 1 "$(of tcp_accept_wait_seconds_count 33)"
same "and root has not" none "$(of tcp_open_connections 0)"
