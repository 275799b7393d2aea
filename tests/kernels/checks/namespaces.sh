# Other network namespaces: their own table, their own sockets.
mkdir -p /run/netns
ip netns add blue
ip -n blue link set lo up
ip netns exec blue nft -f - <<'RULES'
table inet t {
    chain c { type filter hook input priority 0; ct state new counter; }
}
RULES
ip netns exec blue perl /peers.pl listen 8000 open 8000 3 >blue &
until grep -qs 'done' blue; do sleep 0.2; done
once "conntrack: {netns: [all]}, sockets: {netns: [all]}"
same "entries in blue" "$(ip netns exec blue conntrack -C)" "$(sum conntrack_table_usage 'netns="blue"')"
least "entries in blue" 3 "$(sum conntrack_table_usage 'netns="blue"')"
same "established in blue" 6 "$(sum system_network_connection_count 'netns="blue"' 'network_connection_state="established"' 'network_transport="tcp"')"
same "log" "" "$(cat once.log)"
