"""Panels, variables and dashboards as Grafana's JSON has them.

A panel is a title, what it tells an operator to do, a unit and expressions. Every expression gives data wherever an agent
reports at all; what an agent reports only sometimes (older kernels, options) has no panel, and tests/deploy.rs says so with
the reason.
"""

from queries import AGENT

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


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
        "nodeGraph": {},
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


def columns(renamed=None, hidden=("Time",)):
    """The transformation of a table that hides columns and gives others a name for people."""
    options = {"excludeByName": {name: True for name in hidden}}
    if renamed:
        options["renameByName"] = renamed
    return {"id": "organize", "options": options}


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
