"""Which ports of source NAT run out."""

from panels import columns, dashboard, panel, target
from queries import IN_NETNS, NODE, rate, several
from rules import percent, threshold

USAGE = f"conntrack_snat_ports_usage{{{IN_NETNS}}}"
LIMIT = f"conntrack_snat_ports_limit{{{IN_NETNS}}}"
SHARE = f"{USAGE} / {LIMIT}"
WAY = "{{source_address}} to {{destination_address}}:{{destination_port}} {{network_transport}} {{netns}}"
BY = "job, instance, host_name, netns, network_transport, source_address, destination_address, destination_port"
NEARLY_OUT = threshold("ConntrackSnatPortsRunningOut")
STEPS = [(None, "green"), (NEARLY_OUT, "orange"), (0.95, "red")]


def nat():
    return dashboard(
        "connscope-nat",
        "Ports of NAT",
        "How many ports source NAT has left.",
        [
            panel(
                "Ports in use, maximum",
                f"Part of the ports in use of the translated address and destination with the fewest free ones. Above "
                f"{percent(NEARLY_OUT)}: runbook ConntrackSnatPortsRunningOut. Empty unless sources.conntrack.entries is enabled "
                "and something is translated.",
                "percentunit",
                target(f"max({SHARE})", "fewest free"),
                kind="gauge",
                width=6,
                steps=STEPS,
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Ports in use",
                "For each translated source address and protocol, the destination towards which most ports are in use; each "
                "destination address and port has all ports for itself. Near 100 % new connections to it fail.",
                "percentunit",
                target(several(SHARE), WAY),
                width=18,
                steps=STEPS,
            ),
            panel(
                "Tuples that NAT found in use",
                "NAT tried a port that was taken. It grows before connections fail: the fuller the range, the more tries.",
                "suffix: lookups/s",
                target(f"sum without (cpu) ({rate('conntrack_found_total')})", NODE),
            ),
            panel(
                "Packets dropped",
                "Packets without an entry. If the table is not full and no clash is the cause, a port could not be found.",
                "pps",
                target(f"sum without (cpu) ({rate('conntrack_drop_total')})", NODE),
            ),
            panel(
                "All translated addresses",
                "One row for each translated source address and protocol. A small limit is the range of a rule; 64512 is what the "
                "kernel chooses from without one.",
                "short",
                *[
                    target(f"max by ({BY}) ({expr})", format="table", instant=True)
                    for expr in (USAGE, LIMIT, SHARE)
                ],
                kind="table",
                width=24,
                overrides=[
                    {
                        "matcher": {"id": "byName", "options": "In use"},
                        "properties": [{"id": "unit", "value": "percentunit"}],
                    }
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    columns({"Value #A": "Entries", "Value #B": "Ports", "Value #C": "In use"}),
                ],
            ),
        ],
    )
