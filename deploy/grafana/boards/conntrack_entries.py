"""Which connections fill the connection tracking tables."""

from panels import dashboard, panel, target
from queries import IN_NETNS, NODE, several

ENTRIES = f"conntrack_entries{{{IN_NETNS}}}"
DUMP = "connscope_conntrack_dump_"
SIDES = "{{network_transport}} {{direction}}"
OFF = " Empty unless sources.conntrack.entries is enabled."


def by(label):
    return f"sum by ({label}) ({ENTRIES})"


def dump(name):
    return f"{DUMP}{name}{{{IN_NETNS}}}"


def quantile(share, name):
    buckets = f"conntrack_entries_{name}_seconds_bucket{{{IN_NETNS}}}"
    return f"histogram_quantile({share}, sum by (le, network_transport) (rate({buckets}[$__rate_interval])))"


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
                "unreplied: no reply was seen. The kernel may evict these, and replied ones, from a full table. Assured entries stay "
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
                "Time left",
                "Time-outs of the entries, median and 95th percentile of the dumps; with a short time range there are gaps between two dumps. Days for tcp: dead "
                "connections stay that long.",
                "s",
                target(quantile(0.5, "timeout"), "median {{network_transport}}"),
                target(quantile(0.95, "timeout"), "95 % {{network_transport}}"),
            ),
            panel(
                "Age",
                "Time since the entries were created; empty unless nf_conntrack_timestamp is on.",
                "s",
                target(quantile(0.5, "age"), "median {{network_transport}}"),
                target(quantile(0.95, "age"), "95 % {{network_transport}}"),
            ),
            panel(
                "Bytes of the entries",
                "What the connections that are in the table have transferred so far; empty unless nf_conntrack_acct is on. It falls "
                "when a connection ends.",
                "bytes",
                target(f"sum by (network_transport, direction) (conntrack_entries_io_bytes{{{IN_NETNS}}})", SIDES),
            ),
            panel(
                "Packets of the entries",
                "Many entries with few packets: scans, health checks or DNS. Empty unless nf_conntrack_acct is on.",
                "short",
                target(f"sum by (network_transport, direction) (conntrack_entries_packets{{{IN_NETNS}}})", SIDES),
            ),
            panel(
                "Sources with the most entries",
                "Empty unless top_by has source. One that stands out is a scan, a leak or a busy proxy.",
                "short",
                target(several(f"conntrack_entries_top_sources{{{IN_NETNS}}}"), "{{source_address}} {{netns}}"),
            ),
            panel(
                "Destinations with the most entries",
                "Before translation. Empty unless top_by has destination.",
                "short",
                target(several(f"conntrack_entries_top_destinations{{{IN_NETNS}}}"), "{{destination_address}} {{netns}}"),
            ),
            panel(
                "Ports with the most entries",
                "Destination ports before translation. Empty unless top_by has port.",
                "short",
                target(
                    several(f"conntrack_entries_top_ports{{{IN_NETNS}}}"),
                    "{{network_transport}} {{destination_port}} {{netns}}",
                ),
            ),
            panel(
                "Pairs with the most entries",
                "Empty unless top_by has pair. One pair with very many entries runs out of ports first.",
                "short",
                target(
                    several(f"conntrack_entries_top_pairs{{{IN_NETNS}}}"),
                    "{{source_address}} to {{destination_address}} {{netns}}",
                ),
            ),
            panel(
                "Error of the rankings",
                "By how many entries the rankings may be too low. 0: they are exact.",
                "short",
                target(f"conntrack_entries_top_error{{{IN_NETNS}}}", "{{kind}} " + NODE),
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
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Dumps that ended early",
                "0 if every dump read the whole table. Above 0: raise sources.conntrack.entries.budget or interval.",
                "ops",
                target(f"rate({dump('ended_early_total')}[$__rate_interval])", NODE),
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
