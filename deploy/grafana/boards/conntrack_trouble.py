"""What connection tracking drops, rejects and repeats."""

from panels import dashboard, panel, row, target
from queries import NODE, rate
from rules import threshold

def by_node(metric):
    return f"sum without (cpu) ({rate(metric)})"


def by_cpu(metric):
    # The sixteen busiest: a large host has hundreds of CPUs.
    return f"topk(16, sum by (job, instance, host_name, netns, cpu) ({rate(metric)}))"


# Kernel's word, what is counted, unit, what to do, what the spread over CPUs tells.
COUNTERS = [
    (
        "insert_failed",
        "suffix: entries/s",
        "Entries that could not be put into the table; the packet is lost. Two packets of one new connection raced (UDP "
        "DNS through NAT is the classic), a hash chain was too long, or the entry was dying. Before Linux 5.10 races that "
        "were resolved count too. Runbook ConntrackInsertFailed.",
        "Races show on the CPUs that the two packets came in on: several busy CPUs at once is normal, one alone points to "
        "its queue's traffic.",
    ),
    (
        "drop",
        "pps",
        "Packets dropped: the table was full, a race was lost, or a protocol tracker said so. If the use of the table is "
        "near 100 %, it is full: runbook ConntrackTableNearlyFull (early_drop moves only while there are unassured entries "
        "to evict). If insert_failed moves as much, it is races. Runbook ConntrackDropping.",
        "A full table drops on every CPU that receives; a drop on one only is the traffic of its queue.",
    ),
    (
        "early_drop",
        "suffix: entries/s",
        "Entries thrown out of a full table to make room, of connections not assured. Any at all means that the table was "
        "full: raise nf_conntrack_max. Shorter time-outs help later only, entries keep those they have. None does not mean "
        "that there was room. Runbook ConntrackTableNearlyFull.",
        "Follows the CPUs that open connections: they are the ones that look for room.",
    ),
    (
        "chaintoolong",
        "pps",
        "Packets dropped because their hash chain was too long; drop does not count them. Too few buckets for the entries: "
        "raise nf_conntrack_buckets. If the load is low, somebody aims at one bucket, or a zone holds very many like "
        "tuples. Since Linux 5.15.",
        "On all CPUs: the table is overloaded as a whole. On one: a single talker fills one chain.",
    ),
    (
        "invalid",
        "pps",
        "Packets that belong to no connection or are no valid packet of their protocol. Asymmetric routes and packets that "
        "come after their entry has gone make most. See them with sysctl net.netfilter.nf_conntrack_log_invalid=6; a rule "
        "that drops invalid ones turns them into stalls.",
        "One CPU that stands out is one flow or one queue: asymmetric routing of that flow, as a rule.",
    ),
    (
        "error",
        "pps",
        "ICMP errors that match no connection (before Linux 5.10, packets whose protocol could not be read as well). A "
        "scan or a spoofed flood that is answered from far away looks like this. Nothing breaks by it.",
        "The CPU that the errors come in on.",
    ),
    (
        "clash_resolve",
        "suffix: clashes/s",
        "Races between two packets of one new connection that were resolved without a loss. Much of it is DNS over one "
        "socket. If insert_failed grows with it, move the resolver nearer (a cache on each node), or make requests one "
        "at a time (single-request). Since Linux 5.10.",
        "Spread over CPUs by nature: it takes two for a race.",
    ),
    (
        "search_restart",
        "suffix: restarts/s",
        "Lookups begun again since the entry they stood on had moved to another chain. Grows with the rate of new "
        "connections, and for a moment when nf_conntrack_buckets is changed. Only a jump without either deserves a look.",
        "Follows the CPUs with most packets.",
    ),
    (
        "found",
        "suffix: lookups/s",
        "NAT asked for a port that was taken (since Linux 4.9; before, every lookup that succeeded). Growing: source ports "
        "run short towards some destination. More addresses for SNAT, a wider port range, --random-fully, or fewer "
        "connections (keep-alive).",
        "Follows the CPUs that open connections through NAT.",
    ),
]
TITLES = {
    "insert_failed": "Failed inserts",
    "drop": "Dropped packets",
    "early_drop": "Entries dropped early",
    "chaintoolong": "Chain too long",
    "invalid": "Invalid packets",
    "error": "ICMP errors without a connection",
    "clash_resolve": "Races resolved",
    "search_restart": "Lookups begun again",
    "found": "NAT port pressure",
}


def trouble():
    lost = f"sum({rate('conntrack_drop_total')}) + (sum({rate('conntrack_chaintoolong_total')}) or vector(0))"
    panels = [
        panel(
            "Packets lost",
            "Dropped by connection tracking, on all nodes shown: drop and chaintoolong together. Anything that lasts: the "
            "panels below tell which. Kernels without chaintoolong do not drop for it.",
            "pps",
            target(lost, "lost"),
            kind="stat",
            width=8,
            height=5,
            steps=[(None, "green"), (0.1, "orange"), (threshold("ConntrackDropping"), "red")],
        ),
        panel(
            "Inserts failed",
            "On all nodes shown. Not added to the packets lost: most of them are in both. Runbook ConntrackInsertFailed.",
            "suffix: entries/s",
            target(f"sum({rate('conntrack_insert_failed_total')})", "failed"),
            kind="stat",
            width=8,
            height=5,
            steps=[(None, "green"), (threshold("ConntrackInsertFailed"), "orange")],
        ),
        panel(
            "NAT port pressure",
            "Times a second that NAT asked for a port already taken. Compare with yesterday: growing means that source ports "
            "run short.",
            "suffix: lookups/s",
            target(f"sum({rate('conntrack_found_total')})", "taken"),
            kind="stat",
            width=8,
            height=5,
        ),
    ]
    for word, unit, node, cpu in COUNTERS:
        metric = f"conntrack_{word}_total"
        panels += [
            row(f"{TITLES[word]} ({word})"),
            panel(f"{TITLES[word]} by node", node, unit, target(by_node(metric), NODE)),
            panel(
                f"{TITLES[word]} by CPU",
                f"The sixteen busiest CPUs of each moment: a line that breaks off has left the sixteen, and more than sixteen "
                f"may be in the legend. {cpu} Agents that sum over CPUs show one line.",
                unit,
                target(by_cpu(metric), "{{host_name}} {{instance}} {{netns}} cpu {{cpu}}"),
            ),
        ]
    panels += [
        row("From user space and helpers"),
        panel(
            "Entries inserted from user space",
            "Entries put in over netlink or by BPF: conntrackd, Cilium, conntrack -I. Ordinary traffic is not counted since "
            "Linux 4.9. Where nothing of the kind runs, find out who does it.",
            "suffix: entries/s",
            target(by_node("conntrack_insert_total"), NODE),
        ),
        panel(
            "Expectations",
            "Connections that a helper (FTP, SIP) announced and that came, and expectations made and removed. Made and never "
            "met: the helper reads something that is not its protocol, or the second connection is blocked.",
            "suffix: /s",
            target(by_node("conntrack_expect_new_total"), "met " + NODE),
            target(by_node("conntrack_expect_create_total"), "made " + NODE),
            target(by_node("conntrack_expect_delete_total"), "removed " + NODE),
        ),
    ]
    return dashboard(
        "connscope-trouble",
        "Conntrack trouble",
        "What connection tracking loses, refuses and repeats, by node and by CPU.",
        panels,
    )
