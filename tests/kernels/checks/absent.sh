# Before any module is loaded, and with none to be had: absent, not denied and not broken.
loader=$(cat /proc/sys/kernel/modprobe)
echo /nowhere >/proc/sys/kernel/modprobe
peers listen 8000
connscope check >said 2>&1 || true
# Sockets of TCP are read without those of UDP.
modprobe tcp_diag
echo 'sources: {conntrack: {enabled: false}, network: {enabled: false}}' >once.yaml
connscope once --config once.yaml --format prometheus --log-level info >metrics 2>once.log || true
same "listening" 1 "$(sum system_network_connection_count 'network_transport="tcp"' 'network_connection_state="listen"')"
same "UDP sockets" none "$(sum system_network_connection_count 'network_transport="udp"')"
has "what is missing" "UDP sockets" once.log
echo "$loader" >/proc/sys/kernel/modprobe
sed 's/^/    /' said
for way in command netlink procfs sysctl sock_diag; do
    same "$way" absent "$(awk -v way=$way '$2 == way { print $3 }' said)"
done
