"""PromQL that several dashboards share."""

AGENT = 'job=~"$job",instance=~"$instance"'
# A series without the label netns matches as well: the variable's "all" is .*, and .* matches nothing too.
IN_NETNS = AGENT + ',netns=~"$netns"'

NODE = "{{host_name}} {{instance}} {{netns}}"
WHO = "{{host_name}} {{instance}}"

# A series of a container has the name of Kubernetes, of the engine, of the unit, or the id; a label that it does not have
# is empty.
CONTAINER_LABELS = (
    "k8s_namespace_name",
    "k8s_pod_name",
    "k8s_container_name",
    "container_name",
    "systemd_unit",
    "container_id",
)
CONTAINER = " ".join("{{" + each + "}}" for each in CONTAINER_LABELS)

BY_AGENT = "by (job, instance, host_name)"
BY_AGENT_AND_SOURCE = "by (job, instance, host_name, source)"
NONE_YET = f"0 * max {BY_AGENT} (connscope_build_info{{{AGENT}}})"
# The same behind something with further labels.
NONE_OF_AGENT = f"on (job, instance, host_name) {NONE_YET}"
NONE = f"on () 0 * max(connscope_build_info{{{AGENT}}})"
SIXTEEN = " The 16 highest at each moment: a line that ends has left the top 16."


def rate(metric):
    return f"rate({metric}{{{IN_NETNS}}}[$__rate_interval])"


def several(expr):
    return f"topk(16, {expr})"


def total(expr, by):
    return f"sum {by} ({expr})" if by else f"sum({expr})"
