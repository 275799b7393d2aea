"""What containers use and may use: rows of the dashboard of the containers, and the PromQL that its rows share."""

from panels import panel, row, target
from queries import AGENT, CONTAINER, CONTAINER_LABELS, NONE, SIXTEEN, several
from rules import threshold

NAME = ", ".join(CONTAINER_LABELS)
BY = f"by ({NAME})"

BY_VOLUME = f"by ({NAME}, system_device, system_filesystem_mountpoint)"
VOLUME = "{{system_filesystem_mountpoint}} {{system_device}} " + CONTAINER


def rate(metric, by=BY, **chosen):
    more = "".join(f',{label}=~"{value}"' for label, value in chosen.items())
    return f"sum {by} (rate({metric}{{{AGENT}{more}}}[$__rate_interval]))"


def or_none(expr):
    return f"{expr} or {NONE}"


def latest(metric, by=BY, of="sum"):
    return f"{of} {by} ({metric}{{{AGENT}}})"


def resources():
    return [
        row("Resources"),
        panel(
            "CPU use, of the limit",
            "CPU time per second by the CPU limit: 100 % is all that it may use. Containers without a limit are not here." + SIXTEEN,
            "percentunit",
            target(
                or_none(several(f"{rate('container_cpu_time_seconds_total')} / {latest('container_cpu_limit', of='max')}")),
                CONTAINER,
            ),
            width=8,
        ),
        panel(
            "CPU use",
            "CPUs in use." + SIXTEEN,
            "suffix: CPUs",
            target(or_none(several(rate("container_cpu_time_seconds_total"))), CONTAINER),
            width=8,
        ),
        panel(
            "Throttled periods",
            "Part of the periods in which the container used up its CPU quota, and the time that it was kept from running. Runbook "
            "ContainerThrottled." + SIXTEEN,
            "percentunit",
            target(
                or_none(
                    several(
                        f"{rate('container_cpu_throttled_periods_total')} / ({rate('container_cpu_periods_total')} > 0)"
                    )
                ),
                CONTAINER,
            ),
            target(or_none(several(rate("container_cpu_throttled_time_seconds_total"))), "time " + CONTAINER),
            overrides=[
                {
                    "matcher": {"id": "byFrameRefID", "options": "B"},
                    "properties": [{"id": "unit", "value": "suffix: s/s"}, {"id": "custom.axisPlacement", "value": "right"}],
                }
            ],
            steps=[(None, "green"), (threshold("ContainerThrottled"), "orange")],
            width=8,
        ),
        panel(
            "Memory, of the limit",
            "Working set by the memory limit: at 100 % the kernel kills a process. Containers without a limit are not here. Runbook "
            "ContainerMemoryNearlyFull." + SIXTEEN,
            "percentunit",
            target(
                or_none(
                    several(
                        f"{latest('container_memory_working_set_bytes', of='max')} / {latest('container_memory_limit_bytes', of='max')}"
                    )
                ),
                CONTAINER,
            ),
            steps=[(None, "green"), (threshold("ContainerMemoryNearlyFull"), "orange")],
            width=8,
        ),
        panel(
            "Memory",
            "Working set: what the kernel cannot take back at once; and of it the anonymous memory (rss)." + SIXTEEN,
            "bytes",
            target(or_none(several(latest("container_memory_working_set_bytes"))), CONTAINER),
            target(or_none(several(latest("container_memory_rss_bytes"))), "rss " + CONTAINER),
            width=8,
        ),
        panel(
            "Page cache and usage",
            "Memory with the page cache, which the kernel takes back when it needs it." + SIXTEEN,
            "bytes",
            target(or_none(several(latest("container_memory_usage_bytes"))), CONTAINER),
            target(or_none(several(latest("container_memory_cache_bytes"))), "cache " + CONTAINER),
            width=8,
        ),
        panel(
            "Pressure",
            "Part of the time in which tasks were stalled for want of a CPU, memory or I/O; full: all of them at once. Runbook "
            "ContainerStalled." + SIXTEEN,
            "percentunit",
            target(
                or_none(several(rate("container_pressure_time_seconds_total", f"by ({NAME}, resource, kind)"))),
                "{{resource}} {{kind}} " + CONTAINER,
            ),
            steps=[(None, "green"), (threshold("ContainerStalled"), "orange")],
            width=8,
        ),
        panel(
            "Disk throughput",
            "Bytes per second by block device; with control groups of version 1, only where a throttling rule is set." + SIXTEEN,
            "Bps",
            target(
                or_none(several(rate("container_disk_io_bytes_total", f"by ({NAME}, system_device, disk_io_direction)"))),
                "{{disk_io_direction}} {{system_device}} " + CONTAINER,
            ),
            width=8,
        ),
        panel(
            "Disk operations",
            "Requests per second by block device." + SIXTEEN,
            "suffix: /s",
            target(
                or_none(several(rate("container_disk_operations_total", f"by ({NAME}, system_device, disk_io_direction)"))),
                "{{disk_io_direction}} {{system_device}} " + CONTAINER,
            ),
            width=8,
        ),
        row("Volumes"),
        panel(
            "Volumes, use of the capacity",
            "File systems on block devices that are mounted in containers." + SIXTEEN,
            "percentunit",
            target(
                or_none(
                    several(
                        f"{latest('container_filesystem_usage_bytes', BY_VOLUME, 'max')} / {latest('container_filesystem_capacity_bytes', BY_VOLUME, 'max')}"
                    )
                ),
                VOLUME,
            ),
        ),
        panel(
            "Volumes, space left",
            "For who is not root; the 16 that have the least. At 0 writes fail. Runbook ContainerVolumeFilling.",
            "bytes",
            target(or_none(f"bottomk(16, {latest('container_filesystem_available_bytes', BY_VOLUME, 'min')})"), VOLUME),
        ),
    ]
