"""Containers and systemd services."""

from panels import dashboard, panel, row, target
from queries import AGENT, NONE, NONE_OF_AGENT, SIXTEEN, WHO, several

# A series has the name of Kubernetes, of the engine, of the unit, or the id; a label that it does not have is empty.
NAMES = ("k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "container_name", "systemd_unit", "container_id")
NAME = ", ".join(NAMES)
CONTAINER = " ".join("{{" + each + "}}" for each in NAMES)
BY = f"by ({NAME})"
CHOSEN = f"{AGENT}"


def growth(metric, span="10m"):
    return f"sum {BY} (increase({metric}{{{CHOSEN}}}[{span}]))"


def or_none(expr):
    return f"{expr} or {NONE}"


def latest(metric, by=BY, of="sum"):
    return f"{of} {by} ({metric}{{{CHOSEN}}})"


def containers():
    return dashboard(
        "connscope-containers",
        "Containers",
        "Containers and systemd services, their OOM kills and restarts. Empty where the source "
        "containers is switched off.",
        [
            panel(
                "Containers",
                "Containers and services that the agents know. Without a name: connscope check says whose files cannot be read.",
                "short",
                target(f"sum(connscope_containers_tracked{{{AGENT}}}) or {NONE}", "known"),
                target(f"sum(connscope_containers_unnamed{{{AGENT}}}) or {NONE}", "without a name"),
                kind="stat",
                width=6,
                height=5,
            ),
            panel(
                "Processes killed for memory",
                "In ten minutes. Runbook ContainerOomKilled.",
                "short",
                target(f"sum(increase(container_oom_kills_total{{{CHOSEN}}}[10m])) or {NONE}", "killed"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (1, "red")],
            ),
            panel(
                "Restarts",
                "In ten minutes. A deployment restarts each container once; one that restarts again and again is below: runbook "
                "ContainerRestarting.",
                "short",
                target(f"sum(increase(container_restarts_total{{{CHOSEN}}}[10m])) or {NONE}", "restarts"),
                kind="stat",
                width=6,
                height=5,
            ),
            row("By container"),
            panel(
                "Processes killed for memory, by container",
                "In ten minutes. Also where the container lives on because its first process was not the one. Runbook "
                "ContainerOomKilled." + SIXTEEN,
                "short",
                target(or_none(several(growth("container_oom_kills_total"))), CONTAINER),
            ),
            panel(
                "Restarts by container",
                "In ten minutes. Runbook ContainerRestarting." + SIXTEEN,
                "short",
                target(or_none(several(growth("container_restarts_total"))), CONTAINER),
            ),
            panel(
                "Uptime",
                "Of the containers that were started last: the 16 lowest at each moment.",
                "s",
                target(or_none(f"bottomk(16, {latest('container_uptime_seconds', of='min')})"), CONTAINER),
            ),
            panel(
                "Known containers",
                "Image, runtime, id and control group of each container and service, for the names in the other panels.",
                "short",
                target(
                    f"max {BY[:-1]}, container_image_name, container_runtime_name, cgroup, instance) (container_info{{{CHOSEN}}}) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                width=24,
                transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}],
            ),
            row("The source containers"),
            panel(
                "Left out by limit",
                "By the limit that the key names. Runbook ConnscopeContainersLeftOut.",
                "suffix: /s",
                target(
                    f"sum by (key) (rate(connscope_containers_left_out_total{{{AGENT}}}[$__rate_interval])) or {NONE}",
                    "{{key}}",
                ),
                width=8,
            ),
            panel(
                "How each part is read",
                "How each part is known on each node: bpf is exact; procfs, cgroup and taskstats are the ways without it.",
                "short",
                target(
                    f"max by (job, instance, host_name, part, via) (connscope_containers_source{{{AGENT}}}) or {NONE_OF_AGENT}",
                    "{{part}} {{via}} " + WHO,
                ),
            ),
        ],
        netns=None,
    )
