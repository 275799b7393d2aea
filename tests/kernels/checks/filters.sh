# `ss` has a range of its own for `autobound` (docs/filter.md), which is said here. A filter selects what it selects in `ss`, whether this kernel evaluates it or the agent does.
mkdir -p /sys/fs/cgroup/noisy
echo 0 >/sys/fs/cgroup/noisy/cgroup.procs
peers listen 8000 listen6 8001 open 8000 3 listen 8003 mark 5 open 8000 2 device lo open 8000 1 listen 8004
echo 0 >/sys/fs/cgroup/cgroup.procs
perl -MIO::Socket -e '$a = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die; sleep 600' &
until ss -Htln | grep -qv ':800'; do sleep 0.2; done
set -f
while read -r filter; do
    once "conntrack: {enabled: false}, sockets: {filter: \"$filter\"}"
    same "$filter" "$(ss -Htan $filter | wc -l)" "$(sum system_network_connection_count 'network_transport="tcp"')"
done <<'FILTERS'
sport = :8000
dport = :8000
dst 127.0.0.0/8
src [::1]
not src 127.0.0.0/8
sport >= :8001 and sport < :8004
state established dport = :8000
state listening
exclude listening dst 127.0.0.1
fwmark = 5
not fwmark = 5
dev = lo
autobound and sport >= :32768
autobound and not dport = :8000 and sport >= :32768
not autobound
cgroup /noisy
not cgroup /noisy
cgroup /noisy and fwmark = 5 or dev = lo
FILTERS
rmdir /sys/fs/cgroup/noisy 2>/dev/null || true
