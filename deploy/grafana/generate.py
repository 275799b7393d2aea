#!/usr/bin/env python3
"""Writes the dashboards next to this file, from what is written once here. With --check it only compares.

A panel is a title, what it tells an operator to do, a unit and expressions. Every expression gives data wherever an
agent reports at all; what an agent reports only sometimes (older kernels, options) has no panel, and tests/deploy.rs
says so with the reason.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

AGENT = 'job=~"$job",instance=~"$instance"'
# A series without the label netns matches as well: the variable's "all" is .*, and .* matches nothing too.
IN_NETNS = AGENT + ',netns=~"$netns"'

NODE = "{{host_name}} {{instance}} {{netns}}"
WHO = "{{host_name}} {{instance}}"


def target(expr, legend="", **more):
    return {"expr": expr, "legendFormat": legend, **more}


def panel(title, description, unit, *targets, kind="timeseries", width=12, height=8, steps=None, defaults=None, **more):
    """One panel. steps: (value, colour) pairs, the first without a value."""
    defaults = dict(defaults or {})
    defaults["unit"] = unit
    custom = defaults.setdefault("custom", {})
    if steps:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": colour, "value": value} for value, colour in steps],
        }
        if kind == "timeseries":
            custom["thresholdsStyle"] = {"mode": "dashed"}
    # Always said: what a panel does by default is its own affair, and a state timeline draws 1 in red.
    defaults["color"] = {"mode": "thresholds" if steps and kind != "timeseries" else "palette-classic"}
    if kind == "timeseries":
        defaults.setdefault("min", 0)
        custom.update({"fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": False})
    options = {
        "timeseries": {
            "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
        "gauge": {"reduceOptions": {"calcs": ["lastNotNull"]}, "showThresholdMarkers": True},
        "state-timeline": {"mergeValues": True, "rowHeight": 0.8, "showValue": "never"},
        "table": {"cellHeight": "sm", "showHeader": True},
    }[kind]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "gridPos": {"w": width, "h": height},
        "options": options,
        "targets": [
            {"datasource": DATASOURCE, "refId": chr(ord("A") + index), **each} for index, each in enumerate(targets)
        ],
        **more,
    }


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "gridPos": {"w": 24, "h": 1}, "panels": []}


def lay_out(panels):
    """Fills lines of 24 from the left, and numbers the panels."""
    x = y = tallest = 0
    for number, each in enumerate(panels, start=1):
        place = each["gridPos"]
        if x + place["w"] > 24:
            x, y, tallest = 0, y + tallest, 0
        each["id"], place["x"], place["y"] = number, x, y
        x, tallest = x + place["w"], max(tallest, place["h"])
    return panels


def query_variable(name, label, query, description, **more):
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "variable"},
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "sort": 1,
        **more,
    }


# What sockets can be grouped by, as far as the agent is told to (`sources.sockets.group_by`); what it is not told to is
# no label, and grouping by it has no effect.
GROUPS = (
    "direction",
    "server_port",
    "peer_group",
    "network_type",
    "cgroup",
    "container_id",
    "process_executable_name",
    "user_id",
    "netns",
    "host_name",
    "instance",
)
GROUPED_FIRST = list(GROUPS[:3])


def group_variable():
    return {
        "name": "by",
        "label": "Group by",
        "description": "One line for each; what the agent does not group by (sources.sockets.group_by) has no effect",
        "type": "custom",
        "query": ",".join(GROUPS),
        "options": [{"selected": each in GROUPED_FIRST, "text": each, "value": each} for each in GROUPS],
        "current": {"selected": True, "text": GROUPED_FIRST, "value": GROUPED_FIRST},
        "includeAll": False,
        "multi": True,
    }


def variables(netns):
    """netns: the metric whose network namespaces there are to choose from, or none."""
    found = [
        {
            "name": "datasource",
            "label": "Data source",
            "description": "Prometheus that holds the data of the agents",
            "type": "datasource",
            "query": "prometheus",
            "current": {"selected": True, "text": "Prometheus", "value": "connscope-prometheus"},
        },
        query_variable(
            "job",
            "Job",
            "label_values(connscope_build_info, job)",
            "Where the data comes from: an agent that pushes and is scraped too is in two jobs",
            # One at a time: the sums would count such an agent twice.
            current={"selected": True, "text": "connscope", "value": "connscope"},
            includeAll=False,
            multi=False,
        ),
        query_variable(
            "host",
            "Host",
            'label_values(connscope_build_info{job=~"$job"}, host_name)',
            "Where Prometheus promotes the resource attribute host.name; empty otherwise, and then without effect",
            allValue=".*",
        ),
        query_variable(
            "instance",
            "Instance",
            'label_values(connscope_build_info{job=~"$job",host_name=~"$host"}, instance)',
            "Agents: address and port where they are scraped, service.instance.id where they push",
        ),
    ]
    if netns:
        found.append(
            query_variable(
                "netns",
                "Network namespace",
                f"label_values({netns}{{{AGENT}}}, netns)",
                "Where agents are told to read more than their own; empty otherwise, and then without effect",
                allValue=".*",
            )
        )
    return found


def dashboard(uid, title, description, panels, netns="conntrack_table_usage", further=()):
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["connscope"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "connscope",
                "tags": ["connscope"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "icon": "external link",
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {"list": [*variables(netns), *further]},
        "panels": lay_out(panels),
    }


# The conntrack table

UTILIZATION = f"conntrack_table_utilization_ratio{{{IN_NETNS}}}"
# A table that does not grow would take for ever; a week stands for that. A limit that was lowered below the use is full
# now, not some time ago.
TIME_TO_FULL = (
    f"clamp_max(clamp_min((conntrack_table_limit{{{IN_NETNS}}} > 0) - conntrack_table_usage{{{IN_NETNS}}}, 0)"
    f" / clamp_min(deriv(conntrack_table_usage{{{IN_NETNS}}}[15m]), 0.001), 604800)"
)
FULLNESS = [(None, "green"), (0.75, "orange"), (0.9, "red")]
HOURS = [(None, "red"), (3600, "orange"), (86400, "green")]


def table():
    return dashboard(
        "connscope-table",
        "Conntrack table",
        "How full the connection tracking tables are, and how long they will last.",
        [
            panel(
                "Fullest table",
                "Use against limit of the fullest table shown. Above 75 %: find out who opens connections, or raise "
                "nf_conntrack_max (runbook ConntrackTableFilling). At 100 % new connections fail.",
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
                "If it goes on as in the last 15 minutes. A week stands for: not growing. Below an hour, act now "
                "(runbook ConntrackTableFullWithinTheHour).",
                "s",
                target(f"min({TIME_TO_FULL})", "time"),
                kind="stat",
                width=6,
                height=6,
                steps=HOURS,
            ),
            panel(
                "Tables above 75 %",
                "How many tables are on their way to full. More than one at a time points to the traffic, not to a host.",
                "short",
                target(f"sum({UTILIZATION} > bool 0.75)", "tables"),
                kind="stat",
                width=6,
                height=6,
                steps=[(None, "green"), (1, "orange")],
            ),
            panel(
                "Entries in all tables",
                "Connections that the kernels shown keep in mind. Compare with yesterday: more of them on all hosts is the "
                "load, on one host that host's clients.",
                "short",
                target(f"sum(conntrack_table_usage{{{IN_NETNS}}})", "entries"),
                kind="stat",
                width=6,
                height=6,
            ),
            panel(
                "Use against limit",
                "Share of nf_conntrack_max in use. A slope means more connections or longer ones; a saw-tooth at the top "
                "means the kernel throws entries out. Compare with the limit before you raise it: memory is about 300 "
                "bytes an entry.",
                "percentunit",
                target(UTILIZATION, NODE),
                steps=FULLNESS,
                # Soft: use above the limit, after somebody lowered it, is not to be cut off.
                defaults={"custom": {"axisSoftMax": 1}},
            ),
            panel(
                "Time to exhaustion",
                "Seconds until the table is full if it goes on as in the last 15 minutes; a week stands for: not growing. "
                "Short and steady: find who opens the connections (conntrack -L, ss -s) before you raise the limit.",
                "s",
                target(TIME_TO_FULL, NODE),
                steps=[(None, "red"), (3600, "green")],
            ),
            panel(
                "Entries",
                "Entries in the table and, dashed, how many it may hold. A limit that moves is somebody's sysctl: make it "
                "last in /etc/sysctl.d. A limit of 0 is none.",
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
                "Entries more or less each second, over five minutes. A burst that stays is a leak or a flood; one that "
                "goes after nf_conntrack_udp_timeout or the like is traffic.",
                "suffix: entries/s",
                target(f"deriv(conntrack_table_usage{{{IN_NETNS}}}[5m])", NODE),
                defaults={"min": None},
            ),
            panel(
                "Load of the hash table",
                "Nodes in an average hash chain: each entry is in two, one for each direction. Buckets are shared by all "
                "network namespaces, so agents that do not read them all show too little. Above 4, raise "
                "nf_conntrack_buckets together with the limit: long chains cost time in every packet.",
                "short",
                target(
                    f"2 * sum by (job, instance, host_name) (conntrack_table_usage{{{IN_NETNS}}})"
                    f" / max by (job, instance, host_name) (conntrack_table_buckets{{{IN_NETNS}}})",
                    WHO,
                ),
                steps=[(None, "green"), (4, "orange")],
            ),
            panel(
                "Every table",
                "One line a table, to sort by what matters. A table near its limit on one host only: look at that host's "
                "traffic; on all of them: raise the limit everywhere.",
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
                        "matcher": {"id": "byName", "options": "Use"},
                        "properties": [{"id": "unit", "value": "percentunit"}],
                    }
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "renameByName": {
                                "Value #A": "Entries",
                                "Value #B": "Limit",
                                "Value #C": "Use",
                                "Value #D": "Buckets",
                            },
                        },
                    },
                ],
            ),
        ],
    )


# Trouble


def rate(metric):
    return f"rate({metric}{{{IN_NETNS}}}[$__rate_interval])"


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
            steps=[(None, "green"), (0.1, "orange"), (1, "red")],
        ),
        panel(
            "Inserts failed",
            "On all nodes shown. Not added to the packets lost: most of them are in both. Runbook ConntrackInsertFailed.",
            "suffix: entries/s",
            target(f"sum({rate('conntrack_insert_failed_total')})", "failed"),
            kind="stat",
            width=8,
            height=5,
            steps=[(None, "green"), (0.1, "orange")],
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


# The agent itself

EXPORTED = f"otel_sdk_exporter_metric_data_point_exported_total{{{AGENT}}}"
EXPORT_BUCKETS = f"otel_sdk_exporter_operation_duration_seconds_bucket{{{AGENT}}}"
BY_AGENT = "by (job, instance, host_name)"
BY_AGENT_AND_SOURCE = "by (job, instance, host_name, source)"
NONE_YET = f"0 * max {BY_AGENT} (connscope_build_info{{{AGENT}}})"
# The same behind something with further labels.
NONE_OF_AGENT = f"on (job, instance, host_name) {NONE_YET}"


# The series itself ends five minutes after its last point, so an hour is looked through for those that have ended. Only
# for those: it is looked through in steps of a minute, which is too coarse for the others.
LAST_POINT = f"timestamp(connscope_build_info{{{AGENT}}})"
AGE = f"max(time() - (max {BY_AGENT} ({LAST_POINT}) or max {BY_AGENT} (max_over_time({LAST_POINT}[1h:1m]))))"


def quantile(share):
    rates = f"rate({EXPORT_BUCKETS}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, job, instance, host_name) ({rates}))"


def agent():
    taken = f'otel_sdk_exporter_metric_data_point_exported_total{{{AGENT},error_type=""}}'
    return dashboard(
        "connscope-agent",
        "connscope agent",
        "Whether the agents themselves are well: what they can read, what they get rid of, and what they cost.",
        [
            panel(
                "Agents",
                "Agents with data in the last five minutes. Fewer than hosts: runbook ConnscopeDown.",
                "short",
                target(f"count(connscope_build_info{{{AGENT}}})", "agents"),
                kind="stat",
                width=6,
                height=5,
            ),
            panel(
                "Sources down",
                "Sources that could not be read in the last cycle. connscope check, on the host, says what each needs. "
                "Runbook ConnscopeSourceDown.",
                "short",
                target(f"sum(connscope_source_up{{{AGENT}}} == bool 0)", "down"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (1, "red")],
            ),
            panel(
                "Data points not taken",
                "Share of what was pushed that the receiver did not take. Runbook ConnscopeExportFailing. Agents that only "
                "answer scrapes are not in it.",
                "percentunit",
                target(
                    f"1 - sum(rate({taken}[$__rate_interval])) / sum(rate({EXPORTED}[$__rate_interval]))",
                    "not taken",
                ),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (0.01, "orange"), (0.1, "red")],
            ),
            panel(
                "Age of the newest data",
                "Of the agent that is the furthest behind, among those with data in the last hour. More than three intervals: "
                "it has gone, or what is between it and Prometheus has. Runbook ConnscopeDown.",
                "s",
                target(AGE, "age"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (60, "orange"), (180, "red")],
            ),
            row("Reading"),
            panel(
                "Source up",
                "Whether each source answered in time and as a whole. Red: connscope check on the host; the log has one line "
                "for the reason.",
                "bool_yes_no",
                target(f"connscope_source_up{{{AGENT}}}", WHO + " {{source}}"),
                kind="state-timeline",
                steps=[(None, "red"), (1, "green")],
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Way it reads",
                "How many agents read by which way. command starts a process in each cycle, netlink needs CAP_NET_ADMIN, "
                "procfs is the last resort and may lack counters: find out why an agent fell back (connscope check).",
                "short",
                target(f"sum by (via) (connscope_conntrack_source{{{AGENT}}})", "{{via}}"),
            ),
            panel(
                "Time a source takes",
                "How long the last reading took. Near the time-out (5 s by default): a host short of CPU, or very many "
                "namespaces; netlink is faster than the command.",
                "s",
                target(f"connscope_source_duration_seconds{{{AGENT}}}", WHO + " {{source}}"),
            ),
            panel(
                "Errors by reason",
                "denied: a capability is missing. absent: module or tool is. parse, panicked: report it as a defect. timeout, "
                "io: the host is in trouble.",
                "suffix: errors/s",
                target(
                    f"sum by (source, reason) (rate(connscope_source_errors_total{{{AGENT}}}[$__rate_interval]))",
                    "{{source}} {{reason}}",
                ),
            ),
            panel(
                "Network namespaces not read",
                "Configured and not readable, or found and left out because there are more than 512. Zero where an agent reads "
                "its own only. Runbooks ConnscopeNetnsDown and ConnscopeReadingsLeftOut.",
                "short",
                target(
                    f"sum {BY_AGENT_AND_SOURCE} (connscope_netns_up{{{AGENT}}} == bool 0) or {NONE_OF_AGENT}",
                    "not readable " + WHO + " {{source}}",
                ),
                target(
                    f"max {BY_AGENT_AND_SOURCE} (connscope_netns_left_out{{{AGENT}}}) or {NONE_OF_AGENT}",
                    "left out " + WHO + " {{source}}",
                ),
            ),
            panel(
                "Readings left out",
                "Series above the bound of their metric. Not zero: the machine has more CPUs or namespaces than the agent "
                "thought at its start; restart it. Runbook ConnscopeReadingsLeftOut.",
                "suffix: readings/s",
                target(f"rate(connscope_readings_left_out_total{{{AGENT}}}[$__rate_interval])", WHO),
            ),
            row("Pushing"),
            panel(
                "Data points by outcome",
                "taken, or the reason why not: connection and timeout are the way there, a status code is the receiver's "
                "word, rejected is a partial success. Counters lose nothing when pushes come through again.",
                "suffix: points/s",
                target(
                    f'label_replace(sum by (error_type) (rate({EXPORTED}[$__rate_interval])), "error_type", "taken", '
                    '"error_type", "")',
                    "{{error_type}}",
                ),
            ),
            panel(
                "Time an export takes",
                "Median and the slowest hundredth, retries included. Near the time-out (10 s by default): the receiver is slow "
                "or far away.",
                "s",
                target(quantile(0.5), "median " + WHO),
                target(quantile(0.99), "99 % " + WHO),
            ),
            panel(
                "Data points under way",
                "Handed to the exporter, outcome not known. What an agent says of itself is from before its own push; a number "
                "that grows would be a defect.",
                "short",
                target(f"otel_sdk_exporter_metric_data_point_inflight{{{AGENT}}}", WHO),
            ),
            row("Cost"),
            panel(
                "Memory",
                "Physical memory of each agent. Flat after the first minutes; a slope that lasts is a defect worth a report.",
                "bytes",
                target(f"process_memory_usage_bytes{{{AGENT}}}", WHO),
            ),
            panel(
                "CPU",
                "Share of one CPU, child processes not included. High with the way command and a short interval: use netlink.",
                "percentunit",
                target(
                    f"sum without (cpu_mode) (rate(process_cpu_time_seconds_total{{{AGENT}}}[$__rate_interval]))", WHO
                ),
            ),
            panel(
                "Versions",
                "Which agent runs which version. Two of them for long: an update that got stuck.",
                "short",
                target(f"count by (version) (connscope_build_info{{{AGENT}}})", "{{version}}"),
            ),
        ],
        netns=None,
    )


# Sockets

BY = "by (${by:csv})"
GROUP = " ".join("{{" + each + "}}" for each in GROUPS)
NONE = f"on () 0 * max(connscope_build_info{{{AGENT}}})"
HIGHEST = (
    " The sixteen highest of each moment: a line that breaks off has left them. What each line stands for is chosen under "
    "Group by."
)
RETRANSMITS = [(None, "green"), (0.02, "orange"), (0.05, "red")]
QUEUES = [(None, "green"), (0.8, "orange"), (1, "red")]
# One more than the limit waits before the kernel drops; and a limit may be 0.
WAITING = "{by} (tcp_listen_queue_usage{{{of}}}) / (sum {by} (tcp_listen_queue_limit{{{of}}}) + 1)"


def several(expr):
    return f"topk(16, {expr})"


def total(expr, by):
    return f"sum {by} ({expr})" if by else f"sum({expr})"


def rate_by(metric, by=BY, **chosen):
    more = "".join(f',{label}=~"{value}"' for label, value in chosen.items())
    return total(f"rate({metric}{{{IN_NETNS}{more}}}[$__rate_interval])", by)


def distribution(share, metric, by=None):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate_by(metric + '_bucket', f'by ({labels})')})"


def by_group(share, metric):
    return several(distribution(share, metric, "${by:csv}"))


def resent(by=""):
    return f"{rate_by('tcp_retransmits_total', by)} / {rate_by('tcp_segments_total', by, network_io_direction='transmit')}"


def connections(state="", transport="tcp", by=""):
    chosen = f',network_transport="{transport}"' + (f',network_connection_state="{state}"' if state else "")
    return total(f"system_network_connection_count{{{IN_NETNS}{chosen}}}", by)


def worst(metric):
    labels = "job, instance, host_name, netns, " + ", ".join(
        f"network_{end}_{part}" for end in ("local", "peer") for part in ("address", "port")
    )
    return f"max by ({labels}) ({metric}{{{IN_NETNS}}}) or {NONE_OF_AGENT}"


def sockets():
    return dashboard(
        "connscope-sockets",
        "Sockets",
        "What the kernels know of their sockets: who talks to whom, how well, and where it is stuck. Empty where the source "
        "sockets is switched off.",
        [
            panel(
                "Connections",
                "TCP connections that are established, on all nodes shown. Compare with yesterday: twice as many for the same "
                "work are connections that nobody reuses or closes.",
                "short",
                target(connections("established"), "established"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Segments sent again",
                "Share of all sent segments. Below 1 % is a good network, above 2 % is felt, above 5 % throughput is gone. "
                "Runbook SocketsRetransmitting.",
                "percentunit",
                target(resent(), "again"),
                kind="stat",
                width=4,
                height=5,
                steps=RETRANSMITS,
            ),
            panel(
                "Slowest round trips",
                "The slowest hundredth of all measurements (p99). A jump on all groups is the network or a host without CPU; "
                "on one group, the way to those peers.",
                "s",
                target(distribution(0.99, "tcp_rtt_seconds"), "p99"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Failed or reset",
                "TCP connections a second that were never made or did not end in order. Runbooks SocketsConnectionsFailing "
                "and SocketsConnectionsReset.",
                "suffix: connections/s",
                target(rate_by("tcp_connections_total", "", event="failed|reset"), "failed or reset"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Fullest accept queue",
                "Connections that wait to be accepted against how many may. At 100 % the next is dropped. Runbook "
                "SocketsAcceptQueueNearlyFull.",
                "percentunit",
                target(
                    f"max(sum {WAITING.format(by='by (job, instance, host_name, netns, server_port)', of=IN_NETNS)})",
                    "fullest",
                ),
                kind="gauge",
                width=4,
                height=5,
                steps=QUEUES,
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Lost at the door",
                "Connection attempts and UDP datagrams a second that arrived and found no room in the queue of their socket. "
                "Runbooks SocketsAcceptQueueOverflow and SocketsUdpDropping.",
                "suffix: /s",
                target(rate_by("tcp_listen_queue_overflow_total", ""), "attempts"),
                target(f"{rate_by('udp_drops_total', '')} or {NONE}", "datagrams"),
                kind="stat",
                width=4,
                height=5,
                steps=[(None, "green"), (0.1, "orange"), (1, "red")],
            ),
            row("Connections"),
            panel(
                "TCP sockets by state",
                "Every state, also at 0. close_wait that grows: the application does not close (runbook SocketsNotClosed). "
                "syn_sent: peers that do not answer. syn_received: a flood, or a full accept queue. time_wait is normal where "
                "connections are short.",
                "short",
                target(connections(by="by (network_connection_state)"), "{{network_connection_state}}"),
            ),
            panel(
                "What became of connections",
                "opened less closed less reset are open now; failed were never made. opened and closed high at the same "
                "height: connections that are not reused.",
                "suffix: connections/s",
                target(rate_by("tcp_connections_total", "by (event)"), "{{event}}"),
            ),
            panel(
                "Open connections by group",
                "Established or closing. One group that grows: its clients do not reuse connections, or its server does not "
                "close them." + HIGHEST,
                "short",
                target(several(f"sum {BY} (tcp_open_connections{{{IN_NETNS}}})"), GROUP),
            ),
            panel(
                "Failed or reset by group",
                "A refused or unanswered attempt has failed; a reset connection ended by a reset of either end or a time-out. "
                "~unknown: the kernel had forgotten the port when it told of the end." + HIGHEST,
                "suffix: connections/s",
                target(several(rate_by("tcp_connections_total", f"{BY[:-1]}, event)", event="failed|reset")), "{{event}} " + GROUP),
            ),
            row("Round trips"),
            *[
                panel(
                    f"Round trip, {name}, by group",
                    f"{what} One measurement for each interval in which a connection got data acknowledged, and one when it "
                    f"closed; idle connections measure nothing.{HIGHEST}",
                    "s",
                    target(by_group(share, "tcp_rtt_seconds"), GROUP),
                    width=8,
                )
                for name, share, what in (
                    ("median", 0.5, "What most exchanges with these peers take, at least."),
                    ("p95", 0.95, "One in twenty is slower. Far above the median: queues on the way, or peers far apart."),
                    ("p99", 0.99, "One in a hundred is slower. Alone high: loss, or a peer without CPU."),
                )
            ],
            panel(
                "Least round trip by group",
                "Median of the least round trips of the kernel's last five minutes: the way itself, without queues. The "
                "difference to the round trip is waiting; if both rise together, the route has changed." + HIGHEST,
                "s",
                target(by_group(0.5, "tcp_rtt_min_seconds"), GROUP),
            ),
            panel(
                "Segments sent again by group",
                "Share of sent segments. Which group tells where the loss is: one peer group, the way there; all of them, this "
                "host's own link. Runbook SocketsRetransmitting." + HIGHEST,
                "percentunit",
                target(several(resent(BY)), GROUP),
                steps=RETRANSMITS,
            ),
            panel(
                "Congestion window by group",
                "Median, in segments; a connection begins with 10. Small where much is sent: loss keeps it small." + HIGHEST,
                "suffix: segments",
                target(by_group(0.5, "tcp_cwnd"), GROUP),
            ),
            panel(
                "Delivery rate by group",
                "Median of the rates at which the network last delivered. It says what the network gave, not what it could "
                "have given to a sender with little to say." + HIGHEST,
                "Bps",
                target(by_group(0.5, "tcp_delivery_rate_bytes_per_second"), GROUP),
            ),
            row("Bytes"),
            panel(
                "Payload by direction",
                "Of TCP. Sent bytes count once, however often they were sent again. Less than the interface counts, since "
                "headers are not in it; on loopback both ends are here, and everything is there twice.",
                "Bps",
                target(rate_by("tcp_io_bytes_total", "by (network_io_direction)"), "{{network_io_direction}}"),
                width=8,
            ),
            panel(
                "Payload by group",
                "Sent and received together. Who uses the link." + HIGHEST,
                "Bps",
                target(several(rate_by("tcp_io_bytes_total")), GROUP),
                width=8,
            ),
            panel(
                "Segments by direction",
                "Those without data and those sent again included. Many more than the payload explains: small writes, or a "
                "network that loses.",
                "pps",
                target(rate_by("tcp_segments_total", "by (network_io_direction)"), "{{network_io_direction}}"),
                width=8,
            ),
            panel(
                "Held up, of the busy time",
                "Share of the time with something to send. rwnd: the receiver does not read fast enough. sndbuf: the sender's "
                "buffer is too small for the way (net.ipv4.tcp_wmem). The rest is the network's.",
                "percentunit",
                target(
                    f"{rate_by('tcp_limited_time_seconds_total', 'by (reason)')}"
                    f" / on () group_left () {rate_by('tcp_busy_time_seconds_total', '')}",
                    "{{reason}}",
                ),
            ),
            panel(
                "Held up, by group",
                "The same by group. rwnd of outgoing connections: the peer is slow; of incoming ones: the client is." + HIGHEST,
                "percentunit",
                target(
                    several(
                        f"{rate_by('tcp_limited_time_seconds_total', f'{BY[:-1]}, reason)')}"
                        f" / on (${{by:csv}}) group_left () {rate_by('tcp_busy_time_seconds_total')}"
                    ),
                    "{{reason}} " + GROUP,
                ),
            ),
            row("Accept queues"),
            panel(
                "Accept queues, use against limit",
                "At 100 % the kernel drops the next attempt, and the client tries again after a second. The limit is the "
                "smaller of what the application asked for and net.core.somaxconn. Several sockets on one port are added up: "
                "one may be full before the sum is." + HIGHEST,
                "percentunit",
                target(several(f"sum {WAITING.format(by=BY, of=IN_NETNS)}"), GROUP),
                steps=QUEUES,
                width=8,
            ),
            panel(
                "Waiting to be accepted",
                "Connections that are made and that no process has taken. More than a few for long: the application is busy or "
                "stuck." + HIGHEST,
                "short",
                target(several(f"sum {BY} (tcp_listen_queue_usage{{{IN_NETNS}}})"), GROUP),
                width=8,
            ),
            panel(
                "Attempts dropped",
                "By listening sockets, as a rule because the accept queue was full. Each costs a client a second or more. "
                "Runbook SocketsAcceptQueueOverflow." + HIGHEST,
                "suffix: attempts/s",
                target(several(rate_by("tcp_listen_queue_overflow_total")), GROUP),
                width=8,
            ),
            row("UDP"),
            panel(
                "Datagrams dropped",
                "By UDP sockets, as a rule because the receive buffer was full: the application reads too slowly, or "
                "net.core.rmem_max is too small for its bursts. Groups that never dropped any have no line. Runbook "
                "SocketsUdpDropping." + HIGHEST,
                "pps",
                target(f"{several(rate_by('udp_drops_total'))} or {NONE}", GROUP),
                width=8,
            ),
            panel(
                "Bytes in queues",
                "receive: arrived and not read. transmit: written and not gone. Drops follow a receive queue that stands.",
                "bytes",
                target(
                    f"sum by (network_io_direction) (udp_queue_usage_bytes{{{IN_NETNS}}})", "{{network_io_direction}}"
                ),
                width=8,
            ),
            panel(
                "UDP sockets",
                "established: connected to a peer; closed: not, as a server's is. A number that only grows is a leak of file "
                "descriptors.",
                "short",
                target(
                    connections(transport="udp", by="by (network_connection_state)"), "{{network_connection_state}}"
                ),
                width=8,
            ),
            row("Worst flows"),
            panel(
                "Worst flows",
                "The flows that are worst at this moment, with their addresses, where sources.sockets.top.count asks for any "
                "(none by default, and then one line of zeros for each agent). By what they are worst is sources.sockets.top.by.",
                "short",
                *[
                    target(worst(metric), format="table", instant=True)
                    for metric in ("tcp_top_retransmits", "tcp_top_rtt_seconds", "tcp_top_queue_bytes")
                ],
                kind="table",
                width=24,
                overrides=[
                    {
                        "matcher": {"id": "byName", "options": name},
                        "properties": [{"id": "unit", "value": unit}],
                    }
                    for name, unit in (("Round trip", "s"), ("Queues", "bytes"))
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "renameByName": {
                                "Value #A": "Sent again",
                                "Value #B": "Round trip",
                                "Value #C": "Queues",
                            },
                        },
                    },
                ],
            ),
            row("The source itself"),
            panel(
                "Groups and remembered sockets",
                "Each group is up to 90 series, and sources.sockets.limit the most there are. Remembered sockets take 88 bytes each; "
                "sources.sockets.track is the most.",
                "short",
                target(f"max {BY_AGENT} (connscope_sockets_groups{{{AGENT}}})", "groups " + WHO),
                target(f"max {BY_AGENT} (connscope_sockets_tracked{{{AGENT}}})", "remembered " + WHO),
            ),
            panel(
                "Sockets left out",
                "Counted under ~other, because of the limit that the key names; with the key track not counted at all. Runbook "
                "ConnscopeSocketsLeftOut.",
                "suffix: sockets/s",
                target(
                    f"sum by (key) (rate(connscope_sockets_left_out_total{{{AGENT}}}[$__rate_interval]))", "{{key}}"
                ),
            ),
            panel(
                "Closed sockets",
                "That the kernel told of, and that it could not tell of because the agent had no room: what those did since the "
                "last cycle is not counted. Runbook ConnscopeSocketsEventsLost.",
                "suffix: events/s",
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_events_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    "told of " + WHO,
                ),
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_events_lost_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    "lost " + WHO,
                ),
            ),
            panel(
                "Sockets without a process",
                "Where sockets are grouped by process and none was found: it was gone, of another user (CAP_DAC_READ_SEARCH and "
                "CAP_SYS_PTRACE are missing), or sources.sockets.process_budget was used up. Zero where nobody looks.",
                "suffix: sockets/s",
                target(
                    f"sum {BY_AGENT} (rate(connscope_sockets_unattributed_total{{{AGENT}}}[$__rate_interval])) or {NONE_YET}",
                    WHO,
                ),
            ),
        ],
        netns="system_network_connection_count",
        further=[group_variable()],
    )


# Probes

PROBED = AGENT + ',probe_name=~"$probe"'
# What tells targets apart, but for the labels that the configuration gives them. Not network_type: a name may have an
# address of one family now and of the other then, and is one target all the same.
TARGET = "by (job, instance, host_name, probe_name, server_address, server_port, network_transport, network_peer_address)"
BY_PROBE = "by (probe_name, network_peer_address)"
PROBE = "{{probe_name}} {{network_peer_address}}"
# By when it is renewed at the latest by what renews it in time: see the alert.
RENEWED = 10 * 86400
DAYS = [(None, "red"), (RENEWED, "green")]
# Ten years: longer than any certificate lasts and any agent runs.
NEVER = 315360000
NO_CERTIFICATE = f"on () {NEVER} + max(0 * connscope_build_info{{{AGENT}}})"
SIXTEEN = " The sixteen highest of each moment: a line that breaks off has left them."


def of_target(metric):
    return f"max {TARGET} ({metric}{{{PROBED}}})"


def since(metric):
    return f"time() - {of_target(metric)} or {NEVER} + 0 * {of_target('probe_up')}"


def probe_rate(metric, by, more=""):
    return total(f"rate({metric}{{{PROBED}{more}}}[$__rate_interval])", by)


def probe_quantile(share, metric, by=BY_PROBE, more=""):
    by = by.replace("(", "(le, ", 1) or "by (le)"
    return f"histogram_quantile({share}, {probe_rate(metric + '_bucket', by, more)})"


def lasts(by=""):
    return f"min{by and f' {by} '}(probe_tls_certificate_expiry_seconds{{{PROBED}}}) - time()"


def probes():
    succeeded = ',error_type=""'
    failed = ',error_type!=""'
    return dashboard(
        "connscope-probes",
        "Probes",
        "Whether the targets are reached, how fast, and if not, why. Empty where sources.probes has no targets.",
        [
            panel(
                "Targets down",
                "Of all targets shown. Many at the same moment, and from one agent only: that agent's own network. From all "
                "agents: what the targets have in common. Runbook ProbeDown.",
                "short",
                target(f"sum({of_target('probe_up')} == bool 0)", "down"),
                kind="stat",
                width=4,
                height=5,
                steps=[(None, "green"), (1, "red")],
            ),
            panel(
                "Targets",
                "That are probed and were probed at least once. Fewer than were configured: a file or a name that is not read "
                "(/probes of the agent shows every target), or the limit, see below.",
                "short",
                target(f"count({of_target('probe_up')})", "targets"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Probes that succeed",
                "Share of all probes of all targets. Below 100 % while no target is down: links that lose now and then, which "
                "failures_before_down passes over.",
                "percentunit",
                target(
                    f"""{probe_rate('probe_runs_total', '', ',outcome="success"')} / {probe_rate('probe_runs_total', '')}""",
                    "succeed",
                ),
                kind="stat",
                width=4,
                height=5,
                steps=[(None, "red"), (0.9, "orange"), (0.99, "green")],
            ),
            panel(
                "Slowest twentieth",
                "p95 of all probes that succeeded. The bounds are coarse: between 250 ms and 1 s nothing is told apart. Runbook "
                "ProbeSlow.",
                "s",
                target(probe_quantile(0.95, "probe_duration_seconds", "", succeeded), "p95"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Next certificate to expire",
                "Time until the first certificate of a chain expires. Ten years stand for: no certificate is looked at. Runbook "
                "ProbeCertificateExpiring.",
                "s",
                target(f"{lasts()} or {NO_CERTIFICATE}", "left"),
                kind="stat",
                width=4,
                height=5,
                steps=DAYS,
            ),
            panel(
                "Went up or down",
                "Changes of all targets shown in the last hour. A single outage is two. Runbook ProbeFlapping.",
                "short",
                target(f"sum(increase(probe_state_changes_total{{{PROBED}}}[1h]))", "changes"),
                kind="stat",
                width=4,
                height=5,
            ),
            row("Down, and why"),
            panel(
                "Up and down",
                "One line a target, green where it is up by all agents that probe it: those that are down first, sixteen at most. What "
                "goes down together has something in common: a switch, a name server, a provider.",
                "bool_yes_no",
                target(f"bottomk(16, min {BY_PROBE} (probe_up{{{PROBED}}}))", PROBE),
                kind="state-timeline",
                steps=[(None, "red"), (1, "green")],
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "What is down, and why",
                "Failures in the last 15 minutes of the targets that are down, by reason; one line of zero for each agent where "
                "none is. connection_refused: the machine is there, the service is not. timeout: the way there, or a packet "
                "filter. no_answer: UDP, and nobody knows. dns_: the name. /probes?target= of the agent has the words.",
                "short",
                target(
                    "sort_desc(round(sum "
                    + TARGET.replace("(job", "(error_type, job")
                    + f" (increase(probe_duration_seconds_count{{{PROBED}{failed}}}[15m])))"
                    + f" > 0 and {TARGET.replace('by', 'on')} ({of_target('probe_up')} == 0))"
                    + f" or {NONE_OF_AGENT}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                transformations=[
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "renameByName": {
                                "Value": "Failures",
                                "error_type": "Why",
                                "probe_name": "Target",
                            },
                        },
                    },
                ],
            ),
            panel(
                "Failures by reason",
                "Of all targets shown. A reason that begins on many targets at once is one trouble, not many.",
                "suffix: probes/s",
                target(f"{probe_rate('probe_duration_seconds_count', 'by (error_type)', failed)} or {NONE}", "{{error_type}}"),
                width=8,
            ),
            panel(
                "Probes by how they end",
                "no_answer is the silence after a datagram: neither success nor failure, and not up. Give such a target a preset "
                "or something to send that it answers.",
                "suffix: probes/s",
                target(probe_rate("probe_runs_total", "by (outcome)"), "{{outcome}}"),
                width=8,
            ),
            panel(
                "Flapping",
                "How often a target went up or down in the hour before. A single outage is two; six and more are a flaky link: "
                "raise failures_before_down for it, if nobody can mend it. Runbook ProbeFlapping." + SIXTEEN,
                "short",
                target(several(f"sum {BY_PROBE} (increase(probe_state_changes_total{{{PROBED}}}[1h]))"), PROBE),
                steps=[(None, "green"), (6, "orange")],
                width=8,
            ),
            row("How fast"),
            *[
                panel(
                    f"Duration, {name}, by target",
                    f"Of the probes that succeeded, the look-up of the name included. {what} A target whose turn comes more "
                    f"seldom than the step of this graph has gaps.{SIXTEEN}",
                    "s",
                    target(several(probe_quantile(share, "probe_duration_seconds", more=succeeded)), PROBE),
                    width=8,
                )
                for name, share, what in (
                    ("median", 0.5, "What a client waits as a rule."),
                    ("p95", 0.95, "One in twenty is slower. A second more than the median: a lost packet that was sent again."),
                )
            ],
            panel(
                "Duration by phase",
                "Mean of all targets shown. resolve: name servers. connect: the way there. tls: mostly the peer's CPU. request: "
                "the application. transfer: the size of the answer, and the link.",
                "s",
                target(
                    f"{probe_rate('probe_phase_duration_seconds_sum', 'by (phase)')}"
                    f" / {probe_rate('probe_phase_duration_seconds_count', 'by (phase)')} or {NONE}",
                    "{{phase}}",
                ),
                width=8,
            ),
            row("ICMP"),
            panel(
                "Round trip of echoes, by target",
                "Median, by the kernel's time stamps. Zero where no target is of the kind icmp." + SIXTEEN,
                "s",
                target(f"{several(probe_quantile(0.5, 'probe_icmp_rtt_seconds'))} or {NONE}", PROBE),
            ),
            panel(
                "Echoes without an answer",
                "Share of the requests of the last probe. Many hosts and routers limit how many echoes they answer: loss here "
                "and none elsewhere on the same way is theirs." + SIXTEEN,
                "percentunit",
                target(f"{several(f'max {BY_PROBE} (probe_icmp_loss_ratio{{{PROBED}}})')} or {NONE}", PROBE),
            ),
            row("TLS and HTTP"),
            panel(
                "Certificates",
                "The sixteen that expire first. What renews them on its own does so long before ten days are left: below that it "
                "has failed. A line below zero has expired. Ten years stand for: none is looked at.",
                "s",
                target(f"bottomk(16, {lasts(BY_PROBE)}) or {NO_CERTIFICATE}", PROBE),
                steps=DAYS,
                defaults={"min": None},
            ),
            panel(
                "Status of HTTP",
                "Targets by the last status, after redirects; those without an answer are not in it, and 0 stands for no target "
                "of the kind http. 5xx on several targets: what is behind all of them.",
                "short",
                target(f'count_values by () ("status", {of_target("probe_http_status")}) or {NONE}', "{{status}}"),
            ),
            row("Every target"),
            panel(
                "Every target",
                "One line a target, to sort by what matters. Availability is the share of the time since the agent began, so an "
                "agent that was restarted has forgotten. Ten years stand for: never since then.",
                "short",
                *[
                    target(expr, format="table", instant=True)
                    for expr in (
                        of_target("probe_up"),
                        since("probe_last_success_time_seconds"),
                        since("probe_last_change_time_seconds"),
                        of_target("probe_availability_ratio"),
                        f"sum {TARGET} (increase(probe_state_changes_total{{{PROBED}}}[1d]))",
                    )
                ],
                kind="table",
                width=24,
                overrides=[
                    {
                        "matcher": {"id": "byName", "options": name},
                        "properties": [{"id": "unit", "value": unit}],
                    }
                    for name, unit in (
                        ("Up", "bool_yes_no"),
                        ("Since last success", "s"),
                        ("Since last change", "s"),
                        ("Availability", "percentunit"),
                    )
                ],
                transformations=[
                    {"id": "merge", "options": {}},
                    {
                        "id": "organize",
                        "options": {
                            "excludeByName": {"Time": True},
                            "renameByName": {
                                "probe_name": "Target",
                                "Value #A": "Up",
                                "Value #B": "Since last success",
                                "Value #C": "Since last change",
                                "Value #D": "Availability",
                                "Value #E": "Changes in a day",
                            },
                        },
                    },
                ],
            ),
            row("The source itself"),
            panel(
                "Begun too late",
                "How much later than its turn a probe began, p99. Above some milliseconds: sources.probes.concurrency is too low for so many "
                "targets, or for so many that do not answer.",
                "s",
                target(
                    f"histogram_quantile(0.99, sum {BY_AGENT.replace('(', '(le, ')}"
                    f" (rate(connscope_probes_delay_seconds_bucket{{{AGENT}}}[$__rate_interval])))",
                    WHO,
                ),
                width=8,
            ),
            panel(
                "Probes under way",
                "At the same time, of at most sources.probes.concurrency. High while few targets are down: long time limits.",
                "short",
                target(f"max {BY_AGENT} (connscope_probes_running{{{AGENT}}})", WHO),
                width=8,
            ),
            panel(
                "Targets, and those left out",
                "Left out: brought by files or names, and more than sources.probes.limit or with the series of another. They are not "
                "probed: raise the limit, bring fewer, or give them names of their own.",
                "short",
                target(f"max {BY_AGENT} (connscope_probes_targets{{{AGENT}}})", "probed " + WHO),
                target(f"max {BY_AGENT} (connscope_probes_left_out{{{AGENT}}}) or {NONE_YET}", "left out " + WHO),
                width=8,
            ),
        ],
        netns=None,
        further=[
            query_variable(
                "probe",
                "Target",
                f"label_values(probe_up{{{AGENT}}}, probe_name)",
                "Targets by the names they have in the configuration",
                allValue=".*",
            )
        ],
    )


DASHBOARDS = {
    "conntrack-table.json": table,
    "conntrack-trouble.json": trouble,
    "sockets.json": sockets,
    "probes.json": probes,
    "connscope-agent.json": agent,
}


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit("usage: generate.py [--check]")
    stale = []
    for name, make in DASHBOARDS.items():
        path = HERE / "dashboards" / name
        text = json.dumps(make(), indent=2, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if check and stale:
        sys.exit(f"not what generate.py makes: {', '.join(stale)}; run deploy/grafana/generate.py and commit")


if __name__ == "__main__":
    main()
