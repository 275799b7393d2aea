# Connections by what became of them: what was done here, and what the kernel's own counters (`nstat`) say.
agent "conntrack: {enabled: false}"
names="TcpActiveOpens TcpPassiveOpens TcpAttemptFails TcpEstabResets"
for name in $names; do eval "before_$name=$(counted $name)"; done
# 5 of 18 stay open, and one scrape comes in between. Of a connection that this end resets the kernel says no port, unless it was seen before.
begin_peers listen 8000 open 8000 18 until seen close 6 reset 7 refused 8009 4
peers_say waiting
scrape up >/dev/null
touch seen
peers_say 'done'
for name in $names; do eval "grown_$name=\$(($(counted $name) - before_$name))"; done

# to PORT DIRECTION EVENT
to() { scrape tcp_connections_total "server_port=\"$1\"" "direction=\"$2\"" "event=\"$3\""; }
all() { scrape tcp_connections_total "direction=\"$1\"" "event=\"$2\""; }
open() { scrape tcp_open_connections 'server_port="8000"' "direction=\"$1\""; }
for direction in outgoing incoming; do
    until_same "$direction, closed" 6 to 8000 $direction closed
    until_same "$direction, reset" 7 to 8000 $direction reset
    until_same "$direction, opened" 18 to 8000 $direction opened
    until_same "$direction, open" 5 open $direction
done
until_same "refused" 4 all outgoing failed
same "nstat: opened from here, and tried" $((22 + 1)) $grown_TcpActiveOpens
same "nstat: opened from elsewhere" $((18 + 1)) $grown_TcpPassiveOpens
same "nstat: failed" 4 $grown_TcpAttemptFails
same "nstat: reset, both ends" 14 $grown_TcpEstabResets
same "bytes of the open" 18 "$(sum tcp_io_bytes_total 'server_port="8000"' 'direction="outgoing"' 'network_io_direction="transmit"')"
same "log" "" "$(cat agent.log)"
