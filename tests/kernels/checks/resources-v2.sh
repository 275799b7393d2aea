# In the first namespaces. What containers use and may use with control groups of version 2: a pod whose limits are lower
# than those of its container, a container whose limits are its own, and a block device.
root=/sys/fs/cgroup
if ! grep -qw memory $root/cgroup.controllers || ! grep -qw io $root/cgroup.controllers; then
    echo '    version 1 still has a controller; CHECKS=resources-v2 begins with it'
    exit 0
fi
mount -t tmpfs run /run
pod=$root/kubepods/pod1
mkdir -p $pod
for group in $root $root/kubepods $pod; do echo '+cpu +memory +io' >$group/cgroup.subtree_control; done
echo '50000 100000' >$pod/cpu.max
echo 67108864 >$pod/memory.max

# container NAME: its group, and its name.
group_of() { echo "$pod/$(printf %s "$1" | sha256sum | cut -c 1-64)"; }
container() {
    local group=$(group_of "$1") id
    id=$(basename "$group")
    mkdir -p "$group" "/var/lib/docker/containers/$id"
    echo "{\"Name\": \"/$1\", \"Config\": {\"Image\": \"x\"}}" >"/var/lib/docker/containers/$id/config.v2.json"
}
# inside NAME COMMAND...: in its group; `$last` is it.
inside() {
    local group=$(group_of "$1")
    shift
    sh -c 'echo 0 >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" "$@" &
    last=$!
}
of() {
    local name=$1
    shift
    scrape "$@" "container_name=\"$name\""
}

container wide
echo '80000 100000' >"$(group_of wide)/cpu.max"
echo 134217728 >"$(group_of wide)/memory.max"
container narrow
echo '20000 100000' >"$(group_of narrow)/cpu.max"
echo 33554432 >"$(group_of narrow)/memory.max"
agent "conntrack: {enabled: false}, sockets: {enabled: false}, containers: {enabled: true, timeout: 30s, delay: off, oom: off, tcp: {enabled: false}}"
same "CPU limit of the pod" 0.5 "$(of wide container_cpu_limit)"
same "memory limit of the pod" 67108864 "$(of wide container_memory_limit_bytes)"
same "its own CPU limit" 0.2 "$(of narrow container_cpu_limit)"
same "its own memory limit" 33554432 "$(of narrow container_memory_limit_bytes)"
echo max >$pod/memory.max
echo max >"$(group_of wide)/memory.max"
same "no memory limit" none "$(of wide container_memory_limit_bytes)"

inside narrow sh -c 'while :; do :; done'
busy=$last
used() { awk '$1 == "usage_usec" { print $2 / 1e6 }' "$(group_of narrow)/cpu.stat"; }
periods() { of narrow container_cpu_throttled_periods_total; }
throttled() { [ "$(periods)" -gt 5 ] && echo yes || echo no; }
until_same "it is throttled" yes throttled
kill -STOP $busy
sleep 1
same "periods" "$(awk '$1 == "nr_throttled" { print $2 }' "$(group_of narrow)/cpu.stat")" "$(periods)"
between "CPU time" "$(used)" "$(of narrow container_cpu_time_seconds_total)" "$(used)"
stalled=$(sed -n 's/^some.*total=//p' "$(group_of narrow)/cpu.pressure" 2>/dev/null || true)
if [ "$stalled" ]; then
    between "pressure" 0.1 "$(of narrow container_pressure_time_seconds_total 'kind="some"' 'resource="cpu"')" 60
fi
rss=$(awk '$1 == "anon" { print $2 }' "$(group_of narrow)/memory.stat")
same "anonymous memory" "$rss" "$(of narrow container_memory_rss_bytes)"
kill -KILL $busy

# A block device: what is written to it.
modprobe loop
dd if=/dev/zero of=/tmp/disk bs=1M count=16 2>/dev/null
losetup /dev/loop0 /tmp/disk
inside wide sh -c 'dd if=/dev/zero of=/dev/loop0 bs=64k count=64 seek=128 oflag=direct 2>/dev/null; sleep 600'
disk() { of wide container_disk_io_bytes_total 'system_device="loop0"' 'disk_io_direction="write"'; }
until_same "bytes written" 4194304 disk
same "requests" "$(sed -n 's/^7:0 .*wios=\([0-9]*\).*/\1/p' "$(group_of wide)/io.stat")" \
    "$(of wide container_disk_operations_total 'system_device="loop0"' 'disk_io_direction="write"')"

# Started again: its CPU time goes on.
before=$(of narrow container_cpu_time_seconds_total)
until rmdir "$(group_of narrow)" 2>/dev/null; do sleep 0.1; done
container narrow
inside narrow sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 600'
again() { of narrow container_restarts_total; }
until_same "restarted" 1 again
sleep 1
between "CPU time goes on" "$(awk -v before="$before" -v more="$(used)" 'BEGIN { print before + more - 0.2 }')" \
    "$(of narrow container_cpu_time_seconds_total)" 1000
sed 's/^/    /' agent.log
losetup -d /dev/loop0
for name in wide narrow; do
    xargs -r kill -KILL <"$(group_of $name)/cgroup.procs" || true
    until rmdir "$(group_of $name)" 2>/dev/null; do sleep 0.1; done
done
rmdir $pod $root/kubepods
