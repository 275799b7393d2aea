# What the source containers says of two containers, in whatever layout of control groups a check has made: the mount
# points of the hierarchies that containers have groups in are `$roots`. A container is a group with the id of one, and a
# file of Docker's that says its name.
#
# Before Linux 5.13 nothing is counted by programs, and the other ways are held against the same numbers.
export roots
bpf=0
if since 5.13; then bpf=1; fi
# Network namespaces go with the check.
mount -t tmpfs run /run

id_of() { printf %s "$1" | sha256sum | cut -c 1-64; }

# container NAME: its groups, its network namespace, and its name.
container() {
    local id=$(id_of "$1") root
    /bin/ip netns add "$1"
    /bin/ip -n "$1" link set lo up
    /bin/ip -n "$1" addr add 10.9.0.1/24 dev lo
    mkdir -p "/var/lib/docker/containers/$id"
    echo "{\"Name\": \"/$1\", \"Config\": {\"Image\": \"x\"}}" >"/var/lib/docker/containers/$id/config.v2.json"
    for root in $roots; do mkdir -p "$root/docker/$id"; done
}

# inside NAME COMMAND...: in the groups and the network namespace of the container; `$last` is it.
inside() {
    local name=$1 id=$(id_of "$1")
    shift
    sh -c 'id=$1 name=$2; shift 2; for root in $roots; do echo 0 >"$root/docker/$id/cgroup.procs"; done
        exec /bin/ip netns exec "$name" "$@"' sh "$id" "$name" "$@" &
    last=$!
}

# over NAME: ends what is in it, and removes its groups.
over() {
    local id=$(id_of "$1") root tries=100
    for root in $roots; do
        until rmdir "$root/docker/$id" 2>/dev/null; do
            xargs -r kill -KILL <"$root/docker/$id/cgroup.procs" 2>/dev/null || true
            [ $((tries -= 1)) -gt 0 ] || { echo "WRONG $1: its group is not empty"; break; }
            sleep 0.1
        done
    done
    /bin/ip netns del "$1"
}

# of NAME METRIC [LABEL...]: what the next cycle says of a container.
of() {
    local name=$1
    shift
    scrape "$@" "container_name=\"$name\""
}
via() { scrape connscope_containers_source "part=\"$1\"" "via=\"$2\""; }

# Where memory is limited, and where the kernel says how many it has killed.
memory=$(for root in $roots; do [ ! -e "$root/memory.stat" ] && [ ! -e "$root/cgroup.controllers" ] || echo "$root"; done | head -n 1)
if [ -e "$memory/cgroup.subtree_control" ]; then
    mkdir -p "$memory/docker"
    for group in "$memory" "$memory/docker"; do echo +memory >"$group/cgroup.subtree_control"; done
    limit=memory.max killed=memory.events
else
    limit=memory.limit_in_bytes killed=memory.oom_control
fi
kernel_says() { sed -n 's/^oom_kill //p' "$memory/docker/$(id_of "$1")/$killed"; }

# What was there before the agent.
container before
inside before perl /peers.pl listen 8100 open 8100 2 >before.out
inside before perl -MIO::Socket -e '$a = IO::Socket::INET->new(Listen => 1, LocalPort => 8200) or die; sleep 600'
until grep -qs 'done' before.out && /bin/ip netns exec before ss -Htln | grep -q :8200; do sleep 0.2; done
containers="containers: {enabled: true, timeout: 30s, tcp: {loopback: true, fold_ports: none, immediate_failures: true}}"
echo "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, $containers}" >check.yaml
connscope check --config check.yaml >said 2>&1 || true
sed 's/^/    /' said
way() { awk -v way="$1" '$2 == way { print $3 }' said; }
same "btf" works "$(way btf)"
same "programs for TCP" "$([ $bpf = 1 ] && echo works || echo absent)" "$(way tcp)"
if [ $bpf = 1 ]; then
    mkdir tracing && mount -t tracefs tracefs tracing
    functions=$(grep -c '^inet_stream_connect$' tracing/available_filter_functions || true)
    umount tracing && rmdir tracing
    same "failures at once by functions" "${functions:-0}" "$(grep -c 'counted where connect() begins and ends' said || true)"
fi
# Debian's kernels for clouds had no taskstats before 6.1.
delays=$(if [ $bpf = 1 ]; then echo bpf; elif grep -q ' taskstats_user_cmd' /proc/kallsyms; then echo taskstats; fi)
same "delay" "${delays:+works}" "$(way delay | grep -v absent || true)"
same "oom" works "$(way oom)"
allocated() { awk '$1 == "VmallocUsed:" { print $2 }' /proc/meminfo; }
allocated_before=$(allocated)
agent "conntrack: {enabled: false}, sockets: {enabled: false}, $containers"
scrape up >/dev/null
echo "    the kernel has allocated $(($(allocated) - allocated_before)) KiB for the maps"
same "TCP by programs" "$([ $bpf = 1 ] && echo 1 || echo none)" "$(via tcp bpf)"
same "TCP from procfs" "$([ $bpf = 1 ] && echo none || echo 1)" "$(via tcp procfs)"
same "delays" "${delays:-none}" "$(for way in bpf taskstats; do [ "$(via delay $way)" = none ] || echo $way; done | grep . || echo none)"
same "open before" 2 "$(of before container_tcp_open_connections 'server_port="8100"')"
same "listening before" 1 "$(of before container_tcp_listen 'network_local_address="10.9.0.1"' 'network_local_port="8200"')"
if [ $bpf = 1 ]; then
    same "opened before" 0 "$(of before container_tcp_connections_total 'server_port="8100"' 'event="opened"')"
fi

# Connections, by what became of them.
container web
inside web perl /peers.pl listen 8000 listen6 8001 open 8000 18 open6 8001 2 until seen close 6 reset 7 refused 8009 4 >web.out
until grep -qs waiting web.out; do sleep 0.2; done
open() { of web container_tcp_open_connections "server_port=\"$1\""; }
until_same "open" 18 open 8000
until_same "open over IPv6" 2 open 8001
touch seen
until grep -qs 'done' web.out; do sleep 0.2; done
until_same "open at the end" 5 open 8000
to() { of web container_tcp_connections_total "server_port=\"$1\"" "event=\"$2\""; }
if [ $bpf = 1 ]; then
    until_same "opened" 18 to 8000 opened
    until_same "closed" 6 to 8000 closed
    until_same "reset" 7 to 8000 reset
    until_same "refused" 4 to 8009 failed
    inside web perl -MIO::Socket -e 'IO::Socket::INET->new(PeerAddr => "$_:8010") for @ARGV' 10.8.0.1 10.8.0.1 10.8.0.2
    without_route() { of web container_tcp_connections_total 'server_port="8010"' 'error_type="network_unreachable"'; }
    until_same "without a route" 3 without_route
    until_same "handshakes" 18 of web container_tcp_connect_time_seconds_count 'server_port="8000"'
    same "bytes" 18 "$(of web container_tcp_io_bytes_total 'server_port="8000"' 'network_io_direction="transmit"')"
    # A SYN that nobody answers is retransmitted.
    /bin/ip netns exec web nft -f - <<'RULES'
table inet t {
    chain c {
        type filter hook input priority 0
        tcp dport 8005 drop
    }
}
RULES
    inside web perl /peers.pl unanswered 8005 3
    retransmitted() { [ "$(of web container_tcp_retransmits_total 'server_port="8005"')" -ge 1 ] 2>/dev/null && echo yes || echo no; }
    until_same "a SYN is retransmitted" yes retransmitted
    same "all of them are SYNs" "$(of web container_tcp_retransmits_total 'server_port="8005"')" \
        "$(of web container_tcp_syn_retransmits_total 'server_port="8005"')"
    flags=$(for file in /proc/*/fdinfo/*; do cat "$file" 2>/dev/null || true; done |
        awk '$1 == "map_type:" { type = $2 } $1 == "map_flags:" && type == 1 { print $2 }' | sort -u | tr '\n' ' ')
    same "hash maps are allocated" "$(since 6.1 && echo 0x1 || echo 0x0) " "$flags"
fi

# Time waited: two loops on one CPU, against what `schedstat` says of them.
if [ "$delays" ]; then
container busy
inside busy taskset 1 sh -c 'while :; do :; done'
one=$last
inside busy taskset 1 sh -c 'while :; do :; done'
two=$last
delay() { of busy container_cpu_delay_time_seconds_total; }
waits() { awk -v got="$(delay)" 'BEGIN { print (got > 1.5 ? "yes" : "no, " got) }'; }
until_same "they wait" yes waits
kill -STOP $one $two
sleep 0.5
waited=$(cat /proc/$one/schedstat /proc/$two/schedstat | awk '{ sum += $2 } END { print sum / 1e9 }')
# By taskstats a process is credited from when it is first seen in a container; what is not yet there is.
close_to() {
    awk -v got="$(delay)" -v said="$waited" 'BEGIN { print (got > said * 0.98 - 0.05 && got < said * 1.02 + 0.05 ? "yes" : got " instead of " said) }'
}
until_same "they waited as schedstat says" yes close_to
over busy
fi
if [ $bpf = 1 ]; then
    # Of processes that live shortly too.
    container short
    inside short taskset 1 sh -c 'while [ ! -e go ]; do sleep 0.1; done; sh -c "while :; do :; done" & loop=$!
        for n in $(seq 50); do sh -c "i=0; while [ \$i -lt 300 ]; do i=\$((i+1)); done; read a b c </proc/self/schedstat; echo \$b"; done >waited
        kill -STOP $loop; read a b c </proc/$loop/schedstat; echo $b >>waited; read a b c </proc/self/schedstat; echo $b >>waited; touch went; sleep 600'
    until_same "a container" 1 of short container_info
    touch go
    until [ -e went ]; do sleep 0.2; done
    waited=$(awk '{ sum += $1 } END { print sum / 1e9 }' waited)
    short() {
        awk -v got="$(of short container_cpu_delay_time_seconds_total)" -v said="$waited" \
            'BEGIN { print (said > 0.1 && got > said * 0.98 && got < said * 1.1 + 0.1 ? "yes" : got " instead of " said) }'
    }
    until_same "short ones waited as they say" yes short
fi

# Killed for want of memory: where the container lives on, and where it is gone before anybody looks.
container hungry
echo 16777216 >"$memory/docker/$(id_of hungry)/$limit"
inside hungry sh -c 'while :; do if [ -e hunger ]; then rm hunger; tail /dev/zero; fi; sleep 0.2; done'
until_same "killed" 0 of hungry container_oom_kills_total
touch hunger
until_same "killed, and the kernel says so" 1 kernel_says hungry
until_same "killed" 1 of hungry container_oom_kills_total
same "restarted" 0 "$(of hungry container_restarts_total)"
if [ $bpf = 1 ]; then
    container gone
    echo 16777216 >"$memory/docker/$(id_of gone)/$limit"
    inside gone tail /dev/zero
    wait $last || true
    until_same "killed, and gone" 1 kernel_says gone
    over gone
    until_same "killed in what is gone" 1 of gone container_oom_kills_total
fi

# A new group under the old name.
over web
container web
inside web sleep 600
until_same "restarted" 1 of web container_restarts_total
[ $bpf = 0 ] || same "opened goes on" 18 "$(to 8000 opened)"

for name in before web hungry; do over $name; done
[ $bpf = 0 ] || over short
same "lost" 0 "$(scrape connscope_containers_events_lost_total)"
same "warnings of the kernel" "" "$(dmesg | grep -E 'WARNING:|BUG:|BPF program uses' || true)"
sed 's/^/    /' agent.log
# A hierarchy of version 1 goes with its last group, which lasts while there is a page of it, in a file for instance. Its
# controller is version 2's again then.
for root in $roots; do rmdir "$root/docker"; done
rm -rf ./*
echo 3 >/proc/sys/vm/drop_caches
