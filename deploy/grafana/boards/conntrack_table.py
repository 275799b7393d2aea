"""How full the connection tracking tables are."""

from panels import columns, dashboard, panel, target
from queries import AGENT, IN_NETNS, NODE, NONE_YET, WHO, rate
from rules import percent, threshold



def quantile(metric, share=0.95):
    by = "by (le, network_transport, job, instance, host_name)"
    return f"histogram_quantile({share}, sum {by} ({rate(metric + '_bucket')})) or {NONE_YET}"


UTILIZATION = f"conntrack_table_utilization_ratio{{{IN_NETNS}}}"
# The agent's own slope. A table that does not grow would never be full and has no series; 7 days stand for that.
TIME_TO_FULL = (
    f"conntrack_table_time_to_full_seconds{{{IN_NETNS}}}"
    f" or (conntrack_table_limit{{{IN_NETNS}}} > 0) * 0 + 604800"
)
FILLING, NEARLY_FULL = threshold("ConntrackTableFilling"), threshold("ConntrackTableNearlyFull")
FULLNESS = [(None, "green"), (FILLING, "orange"), (NEARLY_FULL, "red")]
SOON = threshold("ConntrackTableFullWithinTheHour", 0)
HOURS = [(None, "red"), (SOON, "orange"), (86400, "green")]


def table():
    return dashboard(
        "connscope-table",
        "Conntrack table",
        "How full the connection tracking tables are, and when they will be full.",
        [
            panel(
                "Table utilization, maximum",
                f"Utilization of the fullest table shown. Above {percent(FILLING)}: find out who opens "
                "connections, or raise nf_conntrack_max (runbook ConntrackTableFilling). At 100 % new connections "
                "fail.",
                "percentunit",
                target(f"max({UTILIZATION})", "fullest"),
                kind="gauge",
                width=6,
                height=6,
                steps=FULLNESS,
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Shortest time to a full table",
                "Extrapolated from the last 15 minutes. 7 days means that no table grows. Below an hour, act now "
                "(runbook ConntrackTableFullWithinTheHour).",
                "s",
                target(f"min({TIME_TO_FULL})", "time"),
                kind="stat",
                width=6,
                height=6,
                steps=HOURS,
            ),
            panel(
                f"Tables above {percent(FILLING)}",
                "Number of tables above that utilization. More than one at a time points to the traffic, not to a "
                "host.",
                "short",
                target(f"sum({UTILIZATION} > bool {FILLING})", "tables"),
                kind="stat",
                width=6,
                height=6,
                steps=[(None, "green"), (1, "orange")],
            ),
            panel(
                "Entries in all tables",
                "Tracked connections of all hosts shown. Compare with yesterday: more on all hosts is load, more "
                "on one host is that host's clients.",
                "short",
                target(f"sum(conntrack_table_usage{{{IN_NETNS}}})", "entries"),
                kind="stat",
                width=6,
                height=6,
            ),
            panel(
                "Table utilization",
                "Fraction of nf_conntrack_max in use. A slope means more connections or longer ones; a saw-tooth "
                "near 100 % means that the kernel evicts entries. Before you raise the limit, mind the memory: "
                "about 300 bytes per entry.",
                "percentunit",
                target(UTILIZATION, NODE),
                steps=FULLNESS,
                # Soft: usage above a lowered limit must not be cut off.
                defaults={"custom": {"axisSoftMax": 1}},
            ),
            panel(
                "Time to a full table",
                "Extrapolated from the last 15 minutes; 7 days means that the table does not grow. Short and "
                "steady: find who opens the connections (conntrack -L, ss -s) before you raise the limit.",
                "s",
                target(TIME_TO_FULL, NODE),
                steps=[(None, "red"), (SOON, "green")],
            ),
            panel(
                "Entries",
                "Entries in the table and, dashed, the limit. A limit that changes was set by sysctl: make it "
                "permanent in /etc/sysctl.d. 0 means no limit.",
                "short",
                target(f"conntrack_table_usage{{{IN_NETNS}}}", NODE),
                target(f"conntrack_table_limit{{{IN_NETNS}}}", "limit " + NODE),
                overrides=[
                    {
                        "matcher": {"id": "byFrameRefID", "options": "B"},
                        "properties": [
                            {"id": "custom.lineStyle", "value": {"dash": [10, 10], "fill": "dash"}},
                            {"id": "custom.fillOpacity", "value": 0},
                        ],
                    }
                ],
            ),
            panel(
                "Growth",
                "Change of the number of entries per second, over five minutes. A burst that stays is a leak or a "
                "flood; one that goes away after nf_conntrack_udp_timeout or a similar time-out is traffic.",
                "suffix: entries/s",
                target(f"deriv(conntrack_table_usage{{{IN_NETNS}}}[5m])", NODE),
                defaults={"min": None},
            ),
            panel(
                "New and destroyed entries",
                "Entries created and destroyed per second: connections, counted by the kernel's events where "
                "sources.conntrack.events is count, otherwise estimated (too low) from the changes of the number of "
                "entries. More new than destroyed ones fill the table.",
                "suffix: entries/s",
                target(
                    f"{rate('conntrack_events_total')} or {rate('conntrack_events_estimate_total')}", "{{kind}} " + NODE
                ),
            ),
            panel(
                "Events lost",
                "Events that the agent could not receive in time: that many entries are missing in the counts. Runbook "
                "ConnscopeConntrackEventsLost.",
                "suffix: events/s",
                target(f"{rate('connscope_conntrack_events_lost_total')} or {NONE_YET}", NODE),
            ),
            panel(
                "Lifetime of entries, 95th percentile",
                "How long destroyed entries existed, time-out included. Long ones of UDP or ICMP are time-outs that could be "
                "shorter; those of TCP that never end are idle connections. Needs nf_conntrack_timestamp.",
                "s",
                target(quantile("conntrack_destroyed_lifetime_seconds"), "{{network_transport}} " + WHO),
            ),
            panel(
                "Bytes of entries, 95th percentile",
                "Bytes of destroyed entries in both directions. Needs nf_conntrack_acct.",
                "bytes",
                target(quantile("conntrack_destroyed_size_bytes"), "{{network_transport}} " + WHO),
            ),
            panel(
                "Packets of entries, median",
                "Packets of destroyed entries in both directions. A median of 1 is traffic without answers: a scan or a flood. Needs nf_conntrack_acct.",
                "short",
                target(quantile("conntrack_destroyed_packets", 0.5), "{{network_transport}} " + WHO),
            ),
            panel(
                "Hash table load",
                "Average length of a hash chain: each entry is in two, one per direction. All network namespaces "
                "share the buckets, so agents that do not read all of them show too little. Above 4, raise "
                "nf_conntrack_buckets together with the limit: long chains cost time in every packet.",
                "short",
                target(f"2 * sum by (job, instance, host_name) (conntrack_table_load_ratio{{{IN_NETNS}}})", WHO),
                steps=[(None, "green"), (4, "orange")],
            ),
            panel(
                "Memory of a full table",
                "What the entries and the buckets take when the limit is reached, without the extensions of entries "
                "(128 bytes or more with NAT, accounting, time stamps or events). Compare it with the memory of the "
                "machine before you raise nf_conntrack_max. Empty where the agent may not read /proc/slabinfo.",
                "bytes",
                target(f"conntrack_table_memory_limit_bytes{{{AGENT}}} or {NONE_YET}", WHO),
            ),
            panel(
                "Share of the machine's memory",
                "The same as a fraction of the machine's memory. Above 10 %, a flood of connections takes memory "
                "from the programs: lower nf_conntrack_max, or give the machine more memory.",
                "percentunit",
                target(f"conntrack_table_memory_share_ratio{{{AGENT}}} or {NONE_YET}", WHO),
                steps=[(None, "green"), (0.1, "orange")],
            ),
            panel(
                "All tables",
                "One row per table. A table near its limit on one host only: look at that host's traffic; on all "
                "hosts: raise the limit everywhere.",
                "short",
                *[
                    # Without the name of the metric and the labels that only one of them has: rows are merged where
                    # all their labels are the same.
                    target(f"max by (job, instance, host_name, netns) ({expr})", format="table", instant=True)
                    for expr in (
                        f"conntrack_table_usage{{{IN_NETNS}}}",
                        f"conntrack_table_limit{{{IN_NETNS}}}",
                        UTILIZATION,
                        f"conntrack_table_buckets{{{IN_NETNS}}}",
                    )
                ],
                kind="table",
                overrides=[
                    {
                        "matcher": {"id": "byName", "options": "Utilization"},
                        "properties": [{"id": "unit", "value": "percentunit"}],
                    }
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    columns(
                        {
                            "Value #A": "Entries",
                            "Value #B": "Limit",
                            "Value #C": "Utilization",
                            "Value #D": "Buckets",
                        }
                    ),
                ],
            ),
        ],
    )
