"""Whether targets are up, how fast they answer, and if not, why."""

import math

from panels import columns, dashboard, panel, query_variable, row, target
from queries import AGENT, BY_AGENT, NONE, NONE_OF_AGENT, NONE_YET, SIXTEEN, WHO, several, total
from rules import threshold

PROBED = AGENT + ',probe_name=~"$probe"'
# What tells targets apart, but for the labels that the configuration gives them. Not network_type: a name may have an
# address of one family now and of the other then, and is one target all the same.
TARGET = "by (job, instance, host_name, probe_name, server_address, server_port, network_transport, network_peer_address)"
BY_PROBE = "by (probe_name, network_peer_address)"
PROBE = "{{probe_name}} {{network_peer_address}}"
# By when it is renewed at the latest by what renews it in time: see the alert.
RENEWED = threshold("ProbeCertificateExpiring")
DAYS = [(None, "red"), (RENEWED, "green")]
# Ten years: longer than any certificate lasts and any agent runs.
NEVER = 315360000
NO_CERTIFICATE = f"on () {NEVER} + max(0 * connscope_build_info{{{AGENT}}})"


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
        "Whether targets are up, how fast they answer, and if not, why. Empty where sources.probes has no targets.",
        [
            panel(
                "Targets down",
                "Of all targets shown. Many at once and from one agent only: that agent's own network. From all "
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
                "Targets probed at least once. Fewer than configured: a file or a DNS name cannot be read "
                "(/probes of the agent shows every target), or the limit was reached, see below.",
                "short",
                target(f"count({of_target('probe_up')})", "targets"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Successful probes",
                "Fraction of all probes of all targets. Below 100 % while no target is down: occasional losses, "
                "which failures_before_down tolerates.",
                "percentunit",
                target(
                    f"""{probe_rate('probe_runs_total', '', ',outcome="success"')} / {probe_rate('probe_runs_total', '')}""",
                    "successful",
                ),
                kind="stat",
                width=4,
                height=5,
                steps=[(None, "red"), (0.9, "orange"), (0.99, "green")],
            ),
            panel(
                "Probe duration, p95",
                "Of all successful probes. The buckets are coarse: there is none between 250 ms and 1 s. Runbook "
                "ProbeSlow.",
                "s",
                target(probe_quantile(0.95, "probe_duration_seconds", "", succeeded), "p95"),
                kind="stat",
                width=4,
                height=5,
            ),
            panel(
                "Next certificate to expire",
                "Time until the first certificate of a chain expires. 10 years means that no target has a "
                "certificate. Runbook ProbeCertificateExpiring.",
                "s",
                target(f"{lasts()} or {NO_CERTIFICATE}", "left"),
                kind="stat",
                width=4,
                height=5,
                steps=DAYS,
            ),
            panel(
                "State changes",
                "Changes of all targets shown in the last hour. A single outage is two. Runbook ProbeFlapping.",
                "short",
                target(f"sum(increase(probe_state_changes_total{{{PROBED}}}[1h]))", "changes"),
                kind="stat",
                width=4,
                height=5,
            ),
            row("State"),
            panel(
                "Up or down",
                "One row per target, green if it is up for all agents that probe it: down targets first, 16 at "
                "most. What goes down together has something in common: a switch, a name server, a provider.",
                "bool_yes_no",
                target(f"bottomk(16, min {BY_PROBE} (probe_up{{{PROBED}}}))", PROBE),
                kind="state-timeline",
                steps=[(None, "red"), (1, "green")],
                defaults={"min": 0, "max": 1},
            ),
            panel(
                "Targets down, by error type",
                "Failures in the last 15 minutes of the targets that are down, by error type; one row of zero per "
                "agent if none is. connection_refused: the machine answers, the service does not. timeout: the "
                "network path, or a packet filter. no_answer: UDP without a reply. dns_: name resolution. "
                "/probes?target= of the agent has the details.",
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
                    columns(
                        {
                            "Value": "Failures",
                            "error_type": "Error type",
                            "probe_name": "Target",
                        }
                    ),
                ],
            ),
            panel(
                "Failures by error type",
                "Of all targets shown. An error type that starts on many targets at once has one cause.",
                "suffix: probes/s",
                target(f"{probe_rate('probe_duration_seconds_count', 'by (error_type)', failed)} or {NONE}", "{{error_type}}"),
                width=8,
            ),
            panel(
                "Probes by outcome",
                "no_answer is a datagram without a reply: neither success nor failure, and not up. Give such a "
                "target a preset or something to send that it answers.",
                "suffix: probes/s",
                target(probe_rate("probe_runs_total", "by (outcome)"), "{{outcome}}"),
                width=8,
            ),
            panel(
                "Flapping",
                "How often a target went up or down in the hour before. A single outage is two; six and more are "
                "a flaky link: raise failures_before_down for it if it cannot be fixed. Runbook ProbeFlapping." + SIXTEEN,
                "short",
                target(several(f"sum {BY_PROBE} (increase(probe_state_changes_total{{{PROBED}}}[1h]))"), PROBE),
                steps=[(None, "green"), (math.ceil(threshold("ProbeFlapping")), "orange")],
                width=8,
            ),
            row("Duration"),
            *[
                panel(
                    f"Duration, {name}, by target",
                    f"Of successful probes, name lookup included. {what} A target that is probed more "
                    f"seldom than the step of the graph has gaps.{SIXTEEN}",
                    "s",
                    target(several(probe_quantile(share, "probe_duration_seconds", more=succeeded)), PROBE),
                    width=8,
                )
                for name, share, what in (
                    ("median", 0.5, "What a client usually waits."),
                    ("p95", 0.95, "A second above the median: a lost packet that was retransmitted."),
                )
            ],
            panel(
                "Duration by phase",
                "Mean of all targets shown. resolve: name servers. connect: the network path. tls: mostly the "
                "peer's CPU. request: the application. transfer: the size of the response, and the link.",
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
                "ICMP round-trip time by target",
                "Median, by kernel timestamps. Zero if no target has the kind icmp." + SIXTEEN,
                "s",
                target(f"{several(probe_quantile(0.5, 'probe_icmp_rtt_seconds'))} or {NONE}", PROBE),
            ),
            panel(
                "ICMP echo loss",
                "Fraction of the echo requests of the last probe that were not answered. Many hosts and routers "
                "limit how many they answer: loss here and none elsewhere on the same network path is theirs." + SIXTEEN,
                "percentunit",
                target(f"{several(f'max {BY_PROBE} (probe_icmp_loss_ratio{{{PROBED}}})')} or {NONE}", PROBE),
            ),
            row("TLS and HTTP"),
            panel(
                "Certificate expiry",
                "The 16 that expire first. Automatic renewal is done long before 10 days are left: below that it "
                "has failed. Below zero the certificate has expired. 10 years means that no target has one.",
                "s",
                target(f"bottomk(16, {lasts(BY_PROBE)}) or {NO_CERTIFICATE}", PROBE),
                steps=DAYS,
                defaults={"min": None},
            ),
            panel(
                "HTTP status codes",
                "Targets by the status code of the last response, after redirects; targets without a response are "
                "not included, and 0 means that no target has the kind http. 5xx on several targets: what is "
                "behind all of them.",
                "short",
                target(f'count_values by () ("status", {of_target("probe_http_status")}) or {NONE}', "{{status}}"),
            ),
            row("Targets"),
            panel(
                "All targets",
                "One row per target. Availability is the fraction of the time since the start of the agent, so it "
                "starts again when the agent restarts. 10 years means never since then.",
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
                    columns(
                        {
                            "probe_name": "Target",
                            "Value #A": "Up",
                            "Value #B": "Since last success",
                            "Value #C": "Since last change",
                            "Value #D": "Availability",
                            "Value #E": "State changes, 1 day",
                        }
                    ),
                ],
            ),
            row("The source probes"),
            panel(
                "Start delay, p99",
                "How much later than scheduled a probe started. Above some milliseconds: "
                "sources.probes.concurrency is too low for so many targets, or for so many that do not answer.",
                "s",
                target(
                    f"histogram_quantile(0.99, sum {BY_AGENT.replace('(', '(le, ')}"
                    f" (rate(connscope_probes_delay_seconds_bucket{{{AGENT}}}[$__rate_interval])))",
                    WHO,
                ),
                width=8,
            ),
            panel(
                "Probes in flight",
                "At most sources.probes.concurrency. High while few targets are down: long time-outs.",
                "short",
                target(f"max {BY_AGENT} (connscope_probes_running{{{AGENT}}})", WHO),
                width=8,
            ),
            panel(
                "Targets, and targets over the limit",
                "Left out: targets from files or DNS over sources.probes.limit, or with the same series as "
                "another. They are not probed: raise the limit, configure fewer, or give them different names.",
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
