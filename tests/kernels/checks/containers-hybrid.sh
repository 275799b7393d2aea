# In the first namespaces, which taskstats take. Control groups of version 1, and of version 2 beside them.
umount /sys/fs/cgroup
mount -t tmpfs groups /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory /sys/fs/cgroup/unified
if ! mount -t cgroup -o memory memory /sys/fs/cgroup/memory; then
    echo '    this kernel has no memory controller of version 1 (CONFIG_MEMCG_V1)'
    exit 0
fi
mount -t cgroup2 unified /sys/fs/cgroup/unified
roots="/sys/fs/cgroup/memory /sys/fs/cgroup/unified"
. /containers.sh
