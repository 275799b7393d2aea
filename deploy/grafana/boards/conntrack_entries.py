"""Which connections fill the connection tracking tables."""

from panels import dashboard, panel, target
from queries import IN_NETNS, NODE, several

ENTRIES = f"conntrack_entries{{{IN_NETNS}}}"
DUMP = "connscope_conntrack_dump_"
OFF = " Empty unless sources.conntrack.entries is enabled."


def by(label):
    return f"sum by ({label}) ({ENTRIES})"


def dump(name):
    return f"{DUMP}{name}{{{IN_NETNS}}}"


def entries():
    return dashboard(
        "connscope-entries",
        "Who fills the table",
        "Which connections are in the connection tracking tables.",
        [
            panel(
                "Entries by protocol",
                "Entries that the last dump found. UDP and ICMP that grow are usually DNS, scans or health checks: shorten "
                "their time-outs or exempt them (notrack)." + OFF,
                "short",
                target(by("network_transport"), "{{network_transport}}"),
                defaults={"custom": {"stacking": {"mode": "normal"}}},
            ),
            panel(
                "Entries of TCP by state",
                "Many in syn_sent or syn_recv: peers do not answer, or a flood. Many in time_wait or close_wait: connections are "
                "short, or an application does not close them. established that only grows: the time-out of five days is too "
                "long for connections that end without a packet.",
                "short",
                target(
                    f'sum by (network_connection_state) (conntrack_entries{{{IN_NETNS},network_transport="tcp"}})',
                    "{{network_connection_state}}",
                ),
                defaults={"custom": {"stacking": {"mode": "normal"}}},
            ),
            panel(
                "Entries by status",
                "unreplied: nobody has answered, and the kernel may evict them from a full table, as replied. Assured entries stay "
                "until their time-out.",
                "short",
                target(by("status"), "{{status}}"),
                defaults={"custom": {"stacking": {"mode": "normal"}}},
            ),
            panel(
                "Entries by translation",
                "What NAT has changed: source (clients behind this host), destination (services), both.",
                "short",
                target(by("nat"), "{{nat}}"),
                defaults={"custom": {"stacking": {"mode": "normal"}}},
            ),
            panel(
                "Entries by zone and address family",
                "Zones separate tenants and bridges. A zone that grows alone names the tenant.",
                "short",
                target(several(f"sum by (zone, network_type) ({ENTRIES})"), "zone {{zone}} {{network_type}}"),
            ),
            panel(
                "Entries by host and network namespace",
                "One host only: look at its traffic; one namespace: that container.",
                "short",
                target(several(f"sum by (job, instance, host_name, netns) ({ENTRIES})"), NODE),
            ),
            panel(
                "Age of the last dump",
                "What this dashboard shows is as old as this. More than the interval: dumps fail, or the budget does not "
                "suffice for every network namespace.",
                "s",
                target(dump("age_seconds"), NODE),
            ),
            panel(
                "Part of the table that was read",
                "Below 100 % a dump ended because it had used its budget of CPU time: divide the numbers of entries by this, and "
                "raise sources.conntrack.entries.budget or interval.",
                "percentunit",
                target(dump("share_ratio"), NODE),
                target(f"rate({dump('ended_early_total')}[$__rate_interval]) > 0", "ended early per second " + NODE),
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Duration of the last dump",
                "The kernel goes through the whole table for each network namespace, one bucket at a time.",
                "s",
                target(dump("duration_seconds"), NODE),
            ),
            panel(
                "CPU time of dumps",
                "Part of one CPU that dumps take, in the kernel and in the agent. At most sources.conntrack.entries.budget.",
                "percentunit",
                target(f"rate({dump('cpu_time_seconds_total')}[$__rate_interval])", NODE),
            ),
        ],
    )
