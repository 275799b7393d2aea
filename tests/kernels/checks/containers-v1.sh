# In the first namespaces, which taskstats take. Control groups of version 1, as systemd mounts them: that of the memory
# controller, and one without.
umount /sys/fs/cgroup
mount -t tmpfs groups /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory /sys/fs/cgroup/systemd
if ! mount -t cgroup -o memory memory /sys/fs/cgroup/memory; then
    echo '    this kernel has no memory controller of version 1 (CONFIG_MEMCG_V1)'
    exit 0
fi
mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
roots="/sys/fs/cgroup/memory /sys/fs/cgroup/systemd"
. /containers.sh
