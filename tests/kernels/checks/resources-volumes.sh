# In the first namespaces. A volume on a device mapper: its sizes, what is written to it, and that it is a disk of the node.
root=/sys/fs/cgroup
if ! grep -qw io $root/cgroup.controllers; then
    echo '    version 1 still has a controller; CHECKS=resources-volumes begins with it'
    exit 0
fi
mount -t tmpfs run /run
for module in loop dm-mod ext4; do modprobe $module; done
dd if=/dev/zero of=/tmp/image bs=1M count=24 2>/dev/null
losetup /dev/loop2 /tmp/image
echo '0 49152 linear /dev/loop2 0' | dmsetup create --noudevrules --noudevsync volume
name=$(basename "$(readlink -f /sys/dev/block/"$(dmsetup info --columns --noheadings --separator : -o major,minor volume)")")
number=$(cat "/sys/block/$name/dev")
mke2fs "/dev/$name" >/dev/null

id=$(printf volume | sha256sum | cut -c 1-64)
group=$root/docker/$id
mkdir -p "$group" "/var/lib/docker/containers/$id" data memory
for above in $root $root/docker; do echo '+io' >$above/cgroup.subtree_control; done
echo '{"Name": "/volume", "Config": {"Image": "x"}}' >"/var/lib/docker/containers/$id/config.v2.json"
unshare --mount sh -c 'set -e
    echo 0 >"$1/cgroup.procs"
    mount -t ext4 "/dev/$2" data
    mount -t tmpfs memory memory
    dd if=/dev/zero of=data/file bs=64k count=64 oflag=direct 2>/dev/null
    sync
    stat -f -c "%b %f %a %S" data >sizes.new
    mv sizes.new sizes
    exec sleep 600' sh "$group" "$name" &
until [ -e sizes ]; do sleep 0.2; done
read blocks free available size <sizes
agent "conntrack: {enabled: false}, sockets: {enabled: false}, node: {enabled: true, timeout: 30s}, containers: {enabled: true, timeout: 30s, delay: off, oom: off, tcp: {enabled: false}}"
of() { scrape "$@" 'container_name="volume"'; }
device="system_device=\"$name\""
point="system_filesystem_mountpoint=\"$(pwd)/data\""
until_same "capacity" $((blocks * size)) of container_filesystem_capacity_bytes "$device" "$point"
same "usage" $(((blocks - free) * size)) "$(of container_filesystem_usage_bytes "$device" "$point")"
same "available" $((available * size)) "$(of container_filesystem_available_bytes "$device" "$point")"
same "tmpfs" none "$(of container_filesystem_capacity_bytes "mountpoint=\"$(pwd)/memory\"")"
write='disk_io_direction="write"'
written() { sed -n "s/^$number .*wbytes=\([0-9]*\).*/\1/p" "$group/io.stat"; }
same "bytes written" "$(written)" "$(of container_disk_io_bytes_total "$device" "$write")"
least "bytes written" 4194304 "$(of container_disk_io_bytes_total "$device" "$write")"
same "bytes written to the disk below" "$(sed -n 's/^7:2 .*wbytes=\([0-9]*\).*/\1/p' "$group/io.stat")" \
    "$(of container_disk_io_bytes_total 'system_device="loop2"' "$write")"
same "a disk of the node" "$(awk -v name="$name" '$3 == name { print $10 * 512 }' /proc/diskstats)" \
    "$(scrape system_disk_io_bytes_total "$device" "$write")"
sed 's/^/    /' agent.log
xargs -r kill -KILL <"$group/cgroup.procs" || true
until rmdir "$group" 2>/dev/null; do sleep 0.1; done
rmdir $root/docker
until dmsetup remove --noudevrules --noudevsync volume 2>/dev/null; do sleep 0.1; done
losetup -d /dev/loop2
