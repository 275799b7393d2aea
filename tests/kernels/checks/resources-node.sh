# What the machine uses: CPU time, memory, disks and interfaces, beside what /proc says.
modprobe loop
dd if=/dev/zero of=image bs=1M count=8 2>/dev/null
losetup /dev/loop1 image
dd if=/dev/zero of=/dev/loop1 bs=64k count=32 oflag=direct 2>/dev/null
ping -c 3 -q 127.0.0.1 >/dev/null
user() { awk '$1 == "cpu" { print $2 / 100 }' /proc/stat; }
uptime_of() { cut -d ' ' -f 1 /proc/uptime; }
before="$(user) $(uptime_of)"
once "conntrack: {enabled: false}, sockets: {enabled: false}, node: {enabled: true, timeout: 30s, disks: loop1, interfaces: lo}"
same "up" 1 "$(sum connscope_source_up 'source="node"')"
between "CPU time" "${before% *}" "$(sum system_cpu_time_seconds_total 'cpu_mode="user"')" "$(user)"
between "uptime" "${before#* }" "$(sum system_uptime_seconds)" "$(uptime_of)"
same "CPUs" "$(grep -c '^cpu[0-9]' /proc/stat)" "$(sum system_cpu_logical_count)"
total=$(awk '$1 == "MemTotal:" { print $2 * 1024 }' /proc/meminfo)
same "memory" "$total" "$(sum system_memory_limit_bytes)"
same "memory by state" "$total" "$(sum system_memory_usage_bytes)"
disk() { awk -v at="$1" -v by="$2" '$3 == "loop1" { print $at * by }' /proc/diskstats; }
write='disk_io_direction="write"'
same "bytes written" "$(disk 10 512)" "$(sum system_disk_io_bytes_total "$write" 'system_device="loop1"')"
least "bytes written" 2097152 "$(sum system_disk_io_bytes_total "$write")"
same "writes" "$(disk 8 1)" "$(sum system_disk_operations_total "$write" 'system_device="loop1"')"
same "time of writes" "$(disk 11 0.001)" "$(sum system_disk_operation_time_seconds_total "$write")"
same "time in use" "$(disk 13 0.001)" "$(sum system_disk_io_time_seconds_total)"
lo() { sed -n 's/^ *lo: *//p' /proc/net/dev | awk -v at="$1" '{ print $at }'; }
same "bytes received" "$(lo 1)" "$(sum system_network_io_bytes_total 'network_io_direction="receive"')"
same "packets sent" "$(lo 10)" "$(sum system_network_packet_count_total 'network_io_direction="transmit"')"
least "packets sent" 6 "$(sum system_network_packet_count_total 'network_io_direction="transmit"')"
same "interface" 1 "$(sum interface_up 'network_interface_name="lo"')"
same "address" 1 "$(sum interface_address 'network_local_address="127.0.0.1"')"
same "by its other name" none "$(sum node_resources_memory_total_bytes)"
once "conntrack: {enabled: false}, sockets: {enabled: false}, node: {enabled: true, timeout: 30s}"
same "a loop device is no disk" none "$(sum system_disk_io_bytes_total 'system_device="loop1"')"
same "loopback is no interface" none "$(sum interface_up 'network_interface_name="lo"')"
losetup -d /dev/loop1
