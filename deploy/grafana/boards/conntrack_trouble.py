"""What connection tracking drops, rejects and repeats."""

from panels import dashboard, panel, row, target
from queries import NODE, rate
from rules import threshold

def by_node(metric):
    return f"sum without (cpu) ({rate(metric)})"


def by_cpu(metric):
    # The sixteen busiest: a large host has hundreds of CPUs.
    return f"topk(16, sum by (job, instance, host_name, netns, cpu) ({rate(metric)}))"


# The kernel's name, the unit, what it means and what to do, what the spread over CPUs tells.
COUNTERS = [
    (
        "insert_failed",
        "suffix: entries/s",
        "Entries that could not be inserted; the packet is lost. Two packets of one new connection clashed (UDP DNS through NAT "
        "is the classic case), a hash chain was too long, or the entry was dying. Before Linux 5.10 resolved clashes count too. "
        "Runbook ConntrackInsertFailed.",
        "Clashes are counted on the CPUs that received the two packets: several busy CPUs at once are normal, one alone points to "
        "the traffic of its queue.",
    ),
    (
        "drop",
        "pps",
        "Packets dropped: the table was full, a clash could not be resolved, or a protocol tracker rejected the packet. If the table "
        "utilization is near 100 %, it is full: runbook ConntrackTableNearlyFull (early_drop grows only while there are unassured "
        "entries to evict). If insert_failed grows as fast, it is clashes. Runbook ConntrackDropping.",
        "A full table drops on every CPU that receives; drops on one CPU only are the traffic of its queue.",
    ),
    (
        "early_drop",
        "suffix: entries/s",
        "Entries of unassured connections evicted from a full table to make room. Any at all means that the table was full: raise "
        "nf_conntrack_max. Shorter time-outs help later only, since existing entries keep theirs. None does not mean that there was "
        "room. Runbook ConntrackTableNearlyFull.",
        "Follows the CPUs that open connections, because the kernel searches for a free entry there.",
    ),
    (
        "chaintoolong",
        "pps",
        "Packets dropped because their hash chain was too long; not included in drop. Too few buckets for the entries: raise "
        "nf_conntrack_buckets. If the hash table load is low, somebody floods one bucket, or a zone holds many similar tuples. "
        "Since Linux 5.15.",
        "On all CPUs: the table is overloaded as a whole. On one: a single sender fills one chain.",
    ),
    (
        "invalid",
        "pps",
        "Packets that match no connection or are not valid for their protocol. Most come from asymmetric routes, or arrive after "
        "their entry has expired. Log them with sysctl net.netfilter.nf_conntrack_log_invalid=6; a rule that drops invalid packets "
        "turns them into stalls.",
        "One CPU that stands out is one flow or one queue: usually asymmetric routing of that flow.",
    ),
    (
        "error",
        "pps",
        "ICMP errors that match no connection (before Linux 5.10 also packets whose protocol header could not be parsed). A scan or "
        "a spoofed flood answered from elsewhere looks like this. Harmless by itself.",
        "The CPU that receives the errors.",
    ),
    (
        "clash_resolve",
        "suffix: clashes/s",
        "Clashes between two packets of one new connection, resolved without loss. Many come from DNS over one socket. If "
        "insert_failed grows with it, move the resolver nearer (a cache on each node), or send requests one at a time "
        "(single-request). Since Linux 5.10.",
        "Always spread over CPUs: a clash takes two.",
    ),
    (
        "search_restart",
        "suffix: restarts/s",
        "Lookups restarted because their entry had moved to another hash chain. Grows with the rate of new connections, and briefly "
        "when nf_conntrack_buckets changes. Only a jump without either is worth a look.",
        "Follows the CPUs with most packets.",
    ),
    (
        "found",
        "suffix: lookups/s",
        "NAT tried a port that was in use (since Linux 4.9; before, every successful lookup). If it grows, source ports run out "
        "towards some destination: more addresses for SNAT, a wider port range, --random-fully, or fewer connections (keep-alive).",
        "Follows the CPUs that open connections through NAT.",
    ),
]
TITLES = {
    "insert_failed": "Failed inserts",
    "drop": "Dropped packets",
    "early_drop": "Evicted entries",
    "chaintoolong": "Hash chain too long",
    "invalid": "Invalid packets",
    "error": "ICMP errors without a connection",
    "clash_resolve": "Resolved clashes",
    "search_restart": "Restarted lookups",
    "found": "NAT port pressure",
}


def trouble():
    lost = f"sum({rate('conntrack_drop_total')}) + (sum({rate('conntrack_chaintoolong_total')}) or vector(0))"
    panels = [
        panel(
            "Packets dropped",
            "Dropped by connection tracking on all nodes shown: drop and chaintoolong together. If it lasts, the "
            "panels below show which. Kernels without chaintoolong do not drop for it.",
            "pps",
            target(lost, "dropped"),
            kind="stat",
            width=8,
            height=5,
            steps=[(None, "green"), (0.1, "orange"), (threshold("ConntrackDropping"), "red")],
        ),
        panel(
            "Failed inserts",
            "On all nodes shown. Not added to the packets dropped: most of them are in both. Runbook "
            "ConntrackInsertFailed.",
            "suffix: entries/s",
            target(f"sum({rate('conntrack_insert_failed_total')})", "failed"),
            kind="stat",
            width=8,
            height=5,
            steps=[(None, "green"), (threshold("ConntrackInsertFailed"), "orange")],
        ),
        panel(
            "NAT port pressure",
            "How often NAT tried a port that was in use. Compare with yesterday: growth means that source ports "
            "run out.",
            "suffix: lookups/s",
            target(f"sum({rate('conntrack_found_total')})", "in use"),
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
                f"The 16 busiest CPUs at each moment: a line that ends has left the top 16, and more than 16 "
                f"may be in the legend. {cpu} Agents that sum over CPUs show one line.",
                unit,
                target(by_cpu(metric), "{{host_name}} {{instance}} {{netns}} cpu {{cpu}}"),
            ),
        ]
    panels += [
        row("From user space and helpers"),
        panel(
            "Entries inserted from user space",
            "Entries inserted over netlink or by BPF: conntrackd, Cilium, conntrack -I. Ordinary traffic is not "
            "counted since Linux 4.9. If nothing of the kind runs, find out who does it.",
            "suffix: entries/s",
            target(by_node("conntrack_insert_total"), NODE),
        ),
        panel(
            "Expectations",
            "Connections that matched an expectation of a helper (FTP, SIP), and expectations created and "
            "deleted. Created but never matched: the helper parses something that is not its protocol, or the "
            "second connection is blocked.",
            "suffix: /s",
            target(by_node("conntrack_expect_new_total"), "matched " + NODE),
            target(by_node("conntrack_expect_create_total"), "created " + NODE),
            target(by_node("conntrack_expect_delete_total"), "deleted " + NODE),
        ),
    ]
    return dashboard(
        "connscope-trouble",
        "Conntrack drops and errors",
        "What connection tracking drops, rejects and repeats, by node and by CPU.",
        panels,
    )
