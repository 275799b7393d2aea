# A user without privileges: what is denied says so and names the capability; the rest works.
modprobe nf_conntrack
modprobe nf_conntrack_netlink
modprobe tcp_diag
nobody() { perl -e '$) = "65534 65534"; $( = 65534; $> = $< = 65534; exec @ARGV' "$@"; }
peers listen 8000 open 8000 2
chmod 777 .
nobody connscope check >said 2>&1 || true
sed 's/^/    /' said
for way in command netlink fwmark process; do
    same "$way" denied "$(awk -v way=$way '$2 == way { print $3 }' said)"
done
for way in procfs sysctl sock_diag destroy; do same "$way" works "$(awk -v way=$way '$2 == way { print $3 }' said)"; done
has "command" CAP_NET_ADMIN said
echo 'sources: {}' >once.yaml
nobody connscope once --config once.yaml --format prometheus --log-level off >metrics 2>once.log || true
same "the way" 1 "$(sum connscope_conntrack_source 'via="procfs"')"
same "established" 4 "$(sum system_network_connection_count 'network_transport="tcp"' 'network_connection_state="established"')"
