# Sockets by control group and by process, as `ss` says whose they are.
mkdir -p /sys/fs/cgroup/shop
echo 0 >/sys/fs/cgroup/shop/cgroup.procs
peers listen 8000 open 8000 3
echo 0 >/sys/fs/cgroup/cgroup.procs
once "conntrack: {enabled: false}, sockets: {group_by: [direction, cgroup, process]}"
same "open" "$(ss -Htnp state established dport = :8000 | grep -c '"perl"')" \
    "$(sum tcp_open_connections 'cgroup="/shop"' 'process_executable_name="perl"' 'direction="outgoing"')"
same "elsewhere" 0 "$(sum tcp_open_connections | awk -v of="$(sum tcp_open_connections 'cgroup="/shop"')" '{ print $1 - of }')"
