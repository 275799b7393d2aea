"""CPU, memory, disks and network of the machines, on one page."""

from panels import dashboard, panel, target
from queries import AGENT, BY_AGENT, NONE, SIXTEEN, WHO, several, total

RATE = "[$__rate_interval]"


def by(*labels):
    return BY_AGENT.replace("(", f"({', '.join(labels)}, ")


def per_second(metric, labels, more=""):
    return total(f"rate({metric}{{{AGENT}{more}}}{RATE})", by(*labels))


def used(metric):
    return f"max {BY_AGENT} ({metric}{{{AGENT}}})"


def node():
    idle = total(f"rate(system_cpu_time_seconds_total{{{AGENT},cpu_mode=~\"idle|iowait\"}}{RATE})", BY_AGENT)
    return dashboard(
        "connscope-node",
        "Node",
        "CPU, memory, disks and network of the machine. Zero where sources.node is not enabled.",
        [
            panel(
                "CPUs in use",
                "Share of the online CPUs that are busy. Constantly near 1: threads wait for a CPU, see "
                "the delays on the dashboard of the containers.",
                "percentunit",
                target(f"1 - {idle} / {used('system_cpu_logical_count')} or {NONE}", WHO),
                width=8,
            ),
            panel(
                "CPU time by mode",
                "All machines shown, in CPUs. steal: the hypervisor gives the time to others; iowait: idle while a disk "
                "is waited for; interrupt: packets or disks.",
                "short",
                target(
                    f"sum by (cpu_mode) (rate(system_cpu_time_seconds_total{{{AGENT},cpu_mode!=\"idle\"}}{RATE})) or {NONE}",
                    "{{cpu_mode}}",
                ),
                width=8,
            ),
            panel(
                "Uptime",
                "Time since the machine was started. A line that begins again at 0 is a machine that was restarted.",
                "s",
                target(f"{used('system_uptime_seconds')} or {NONE}", WHO),
                width=8,
            ),
            panel(
                "Memory that is left",
                "The kernel's estimate of what programs can still have, of all memory. Below 5 %: the kernel starts to kill processes; the dashboard Containers shows whose.",
                "percentunit",
                target(
                    f"{used('system_memory_linux_available_bytes')} / {used('system_memory_limit_bytes')} or {NONE}", WHO
                ),
                width=8,
            ),
            panel(
                "Memory by state",
                "All machines shown. used is what is neither free nor page cache; cached and buffers are given back "
                "when programs ask for memory, apart from what tmpfs has.",
                "bytes",
                target(
                    f"sum by (system_memory_state) (system_memory_usage_bytes{{{AGENT}}}) or {NONE}",
                    "{{system_memory_state}}",
                ),
                width=8,
            ),
            panel(
                "Disks busy",
                "Share of the time in which at least one operation was in progress. A disk that does several at once can do "
                "more at 100 %: look at the time of an operation." + SIXTEEN,
                "percentunit",
                target(
                    f"{several(per_second('system_disk_io_time_seconds_total', ['system_device']))} or {NONE}",
                    WHO + " {{system_device}}",
                ),
                width=8,
            ),
            panel(
                "Bytes of disks",
                "Read and written." + SIXTEEN,
                "Bps",
                target(
                    f"{several(per_second('system_disk_io_bytes_total', ['system_device', 'disk_io_direction']))} or {NONE}",
                    WHO + " {{system_device}} {{disk_io_direction}}",
                ),
                width=8,
            ),
            panel(
                "Operations of disks",
                "Reads and writes that are complete. Many small ones load a disk as few large ones do." + SIXTEEN,
                "iops",
                target(
                    f"{several(per_second('system_disk_operations_total', ['system_device', 'disk_io_direction']))} or {NONE}",
                    WHO + " {{system_device}} {{disk_io_direction}}",
                ),
                width=8,
            ),
            panel(
                "Time of an operation",
                "Mean over the operations of a disk, waiting included. It rises before the bytes stop rising: the disk "
                "is at its limit." + SIXTEEN,
                "s",
                target(
                    several(
                        per_second("system_disk_operation_time_seconds_total", ["system_device", "disk_io_direction"])
                        + " / "
                        + per_second("system_disk_operations_total", ["system_device", "disk_io_direction"])
                        + " >= 0"
                    )
                    + f" or {NONE}",
                    WHO + " {{system_device}} {{disk_io_direction}}",
                ),
                width=8,
            ),
            panel(
                "Bytes of interfaces",
                "Sent and received. Compare with what the interface, or the type of the instance, can do." + SIXTEEN,
                "Bps",
                target(
                    several(
                        per_second("system_network_io_bytes_total", ["network_interface_name", "network_io_direction"])
                    )
                    + f" or {NONE}",
                    WHO + " {{network_interface_name}} {{network_io_direction}}",
                ),
                width=8,
            ),
            panel(
                "Packets of interfaces",
                "Sent and received. A rise without a rise in bytes means many small packets: machines and instance types limit "
                "packets per second too." + SIXTEEN,
                "pps",
                target(
                    several(
                        per_second(
                            "system_network_packet_count_total", ["network_interface_name", "network_io_direction"]
                        )
                    )
                    + f" or {NONE}",
                    WHO + " {{network_interface_name}} {{network_io_direction}}",
                ),
                width=8,
            ),
            panel(
                "Interfaces that are down",
                "Interfaces that are not up or have no carrier, and how many disks and interfaces are over the limit of the "
                "source. A bridge without containers is down too.",
                "short",
                target(
                    f"sum {by('network_interface_name')} (interface_up{{{AGENT}}} == bool 0) > 0 or {NONE}",
                    WHO + " {{network_interface_name}}",
                ),
                target(
                    f"sum {by('key')} (connscope_node_left_out{{{AGENT}}}) > 0 or {NONE}", "left out " + WHO + " {{key}}"
                ),
                width=8,
            ),
            panel(
                "Addresses",
                "Addresses of the interfaces: which machine has the address that another dashboard shows.",
                "short",
                target(
                    f"max {by('network_interface_name', 'network_local_address')} (interface_address{{{AGENT}}}) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                width=24,
            ),
        ],
        netns=None,
    )
