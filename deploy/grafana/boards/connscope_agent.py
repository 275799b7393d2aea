"""The agents themselves."""

from panels import dashboard, panel, row, target
from queries import AGENT, BY_AGENT, BY_AGENT_AND_SOURCE, NONE_OF_AGENT, NONE_YET, WHO
from rules import threshold

EXPORTED = f"otel_sdk_exporter_metric_data_point_exported_total{{{AGENT}}}"
EXPORT_BUCKETS = f"otel_sdk_exporter_operation_duration_seconds_bucket{{{AGENT}}}"


# A series ends five minutes after its last point, so the last hour is searched for those that have ended. Only for those: the
# subquery has steps of a minute, which is too coarse for the others.
LAST_POINT = f"timestamp(connscope_build_info{{{AGENT}}})"
AGE = f"max(time() - (max {BY_AGENT} ({LAST_POINT}) or max {BY_AGENT} (max_over_time({LAST_POINT}[1h:1m]))))"


def quantile(share):
    rates = f"rate({EXPORT_BUCKETS}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, job, instance, host_name) ({rates}))"


def agent():
    accepted = f'otel_sdk_exporter_metric_data_point_exported_total{{{AGENT},error_type=""}}'
    return dashboard(
        "connscope-agent",
        "connscope agent",
        "Whether the agents themselves are healthy: what they can read, what they can push, and what they cost.",
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
                "Sources that could not be read in the last cycle. `connscope check`, on the host, says what each "
                "needs. Runbook ConnscopeSourceDown.",
                "short",
                target(f"sum(connscope_source_up{{{AGENT}}} == bool 0)", "down"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (1, "red")],
            ),
            panel(
                "Data points not accepted",
                "Fraction of the pushed data points that the receiver did not accept. Runbook "
                "ConnscopeExportFailing. Agents that only answer scrapes are not included.",
                "percentunit",
                target(
                    f"1 - sum(rate({accepted}[$__rate_interval])) / sum(rate({EXPORTED}[$__rate_interval]))",
                    "not accepted",
                ),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (0.01, "orange"), (threshold("ConnscopeExportFailing", 0), "red")],
            ),
            panel(
                "Age of the newest data",
                "Of the agent that is furthest behind, among those with data in the last hour. More than three "
                "intervals: the agent is gone, or what is between it and Prometheus. Runbook ConnscopeDown.",
                "s",
                target(AGE, "age"),
                kind="stat",
                width=6,
                height=5,
                steps=[(None, "green"), (60, "orange"), (180, "red")],
            ),
            row("Sources"),
            panel(
                "Source up",
                "Whether each source answered in time and completely. Red: run `connscope check` on the host; the "
                "log has one line with the reason.",
                "bool_yes_no",
                target(f"connscope_source_up{{{AGENT}}}", WHO + " {{source}}"),
                kind="state-timeline",
                steps=[(None, "red"), (1, "green")],
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Read methods of conntrack",
                "Number of agents by how they read the statistics. command starts a process in each cycle, "
                "netlink needs CAP_NET_ADMIN, procfs is the last resort and may lack counters: find out why an "
                "agent fell back (`connscope check`).",
                "short",
                target(f"sum by (via) (connscope_conntrack_source{{{AGENT}}})", "{{via}}"),
            ),
            panel(
                "Source duration",
                "Duration of the last read. Near the time-out (5 s by default): a host short of CPU, or very many "
                "namespaces; netlink is faster than the command.",
                "s",
                target(f"connscope_source_duration_seconds{{{AGENT}}}", WHO + " {{source}}"),
            ),
            panel(
                "Errors by reason",
                "denied: a capability is missing. absent: a kernel module or a tool is missing. parse, panicked: "
                "report it as a defect. timeout, io: the host is in trouble.",
                "suffix: errors/s",
                target(
                    f"sum by (source, reason) (rate(connscope_source_errors_total{{{AGENT}}}[$__rate_interval]))",
                    "{{source}} {{reason}}",
                ),
            ),
            panel(
                "Network namespaces not read",
                "Configured and not readable, or found and left out because there are more than 512. Zero where "
                "an agent reads its own only. Runbooks ConnscopeNetnsDown and ConnscopeReadingsLeftOut.",
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
                "Interfaces and firewall rules not reported",
                "Over the 256 interfaces and 200 rules that are reported. Read fewer network namespaces (sources.network.netns); give "
                "rules of one purpose the same comment.",
                "short",
                target(f"max by (job, instance, host_name, key) (connscope_network_left_out{{{AGENT}}}) or {NONE_YET}", WHO + " {{key}}"),
            ),
            panel(
                "Readings over the limit",
                "Series over the limit of their metric. Not zero: the machine has more CPUs or namespaces than at "
                "the start of the agent; restart it. Runbook ConnscopeReadingsLeftOut.",
                "suffix: readings/s",
                target(f"rate(connscope_readings_left_out_total{{{AGENT}}}[$__rate_interval])", WHO),
            ),
            row("OTLP export"),
            panel(
                "Data points by outcome",
                "accepted, or the reason why not: connection and timeout are the network path, a status code is "
                "the receiver's answer, rejected is a partial success. Counters lose nothing once pushes succeed "
                "again.",
                "suffix: points/s",
                target(
                    f'label_replace(sum by (error_type) (rate({EXPORTED}[$__rate_interval])), "error_type", "accepted", '
                    '"error_type", "")',
                    "{{error_type}}",
                ),
            ),
            panel(
                "Export duration",
                "Median and p99, retries included. Near the time-out (10 s by default): the receiver is slow or "
                "far away.",
                "s",
                target(quantile(0.5), "median " + WHO),
                target(quantile(0.99), "p99 " + WHO),
            ),
            panel(
                "Data points in flight",
                "Passed to the exporter, outcome not known. What an agent reports of itself is from before its "
                "own push; a number that grows would be a defect.",
                "short",
                target(f"otel_sdk_exporter_metric_data_point_inflight{{{AGENT}}}", WHO),
            ),
            row("Resource usage"),
            panel(
                "Memory",
                "Physical memory of each agent. Flat after the first minutes; a slope that lasts is a defect "
                "worth a report.",
                "bytes",
                target(f"process_memory_usage_bytes{{{AGENT}}}", WHO),
            ),
            panel(
                "CPU",
                "Share of one CPU, child processes not included. High with `via: command` and a short interval: "
                "use netlink.",
                "percentunit",
                target(
                    f"sum without (cpu_mode) (rate(process_cpu_time_seconds_total{{{AGENT}}}[$__rate_interval]))", WHO
                ),
            ),
            panel(
                "Versions",
                "Number of agents by version. More than one version for long: an update is not finished.",
                "short",
                target(f"count by (version) (connscope_build_info{{{AGENT}}})", "{{version}}"),
            ),
            panel(
                "Refused configurations",
                "1 where the configuration was refused when it was last read again, and the one before stays in effect. The log of "
                "the agent says why; mend the file and reload.",
                "short",
                target(f"connscope_config_last_reload_success{{{AGENT}}} == bool 0", WHO),
            ),
            panel(
                "Age of the configuration",
                "Time since the configuration in effect was read, at the start of the agent or by a reload. Agents that "
                "missed a change of all of them stand out.",
                "s",
                target(f"time() - connscope_config_last_reload_time_seconds{{{AGENT}}}", WHO),
            ),
        ],
        netns=None,
    )
