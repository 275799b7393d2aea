# A probe of each kind that needs the kernel: up where somebody answers, and why not where nobody does.
peers listen 8000
target="host: 127.0.0.1, interval: 1s"
once "conntrack: {enabled: false}, sockets: {enabled: false}, probes: {targets: [
    {name: open, kind: tcp, port: 8000, $target}, {name: closed, kind: tcp, port: 8009, $target},
    {name: datagram, kind: udp, port: 8009, $target}, {name: echo, kind: icmp, $target},
    {name: echo6, kind: icmp, host: '::1', interval: 1s}]}"
for name in open echo echo6; do same "$name" 1 "$(sum probe_up "probe_name=\"$name\"")"; done
for name in closed datagram; do
    same "$name" 0 "$(sum probe_up "probe_name=\"$name\"")"
    same "$name: why" 1 "$(sum probe_duration_seconds_count "probe_name=\"$name\"" 'error_type="connection_refused"')"
done
