"""Log volume, errors, and new message patterns."""

from panels import columns, dashboard, panel, row, target
from queries import AGENT, BY_AGENT, CONTAINER, CONTAINER_LABELS, NONE, SIXTEEN, WHO, several, total

# Who logs: a container or service, or a file of the configuration.
LOG = f"by ({', '.join(CONTAINER_LABELS)}, log_file_path)"
NAME = CONTAINER + " {{log_file_path}}"
OF_PATTERN = LOG.replace("by (", "(severity, pattern, ")
SAMPLED = OF_PATTERN.replace("(", "(sample, ")
PATTERNS = f"sum by {OF_PATTERN} (increase(container_log_patterns_total{{{AGENT}}}[1h]))"
# Those that were not there in the day before this hour.
NEW = f"{PATTERNS} > 0 unless sum by {OF_PATTERN} (last_over_time(container_log_patterns_total{{{AGENT}}}[1d] offset 1h))"
BAD = ',severity=~"error|critical"'


def per_second(metric, by, more=""):
    return total(f"rate({metric}{{{AGENT}{more}}}[$__rate_interval])", by)


def logs():
    return dashboard(
        "connscope-logs",
        "Logs",
        "Log volume, messages by severity, and recurring patterns. Zero where sources.logs is not enabled.",
        [
            panel(
                "Messages by severity",
                "All logs shown. More errors but not more messages: something fails; more of every severity: more load. unknown: "
                "messages without a severity.",
                "suffix: messages/s",
                target(f"{per_second('container_log_messages_total', 'by (severity)')} or {NONE}", "{{severity}}"),
            ),
            panel(
                "Errors by log",
                "Messages of severity error and critical. Which container began, and when: compare with what was deployed "
                "at that time." + SIXTEEN,
                "suffix: messages/s",
                target(f"{several(per_second('container_log_messages_total', LOG, BAD))} or {NONE}", NAME),
            ),
            panel(
                "New patterns of the last hour",
                "The 50 patterns with the most messages of those that were not there in the day before, with a sample: "
                "see the alert ContainerNewErrorPattern. On a new agent, every pattern is new.",
                "short",
                target(
                    f"topk(50, ({NEW}) * on {OF_PATTERN} group_left (sample) max by {SAMPLED} (container_log_pattern_info"
                    f"{{{AGENT}}})) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                width=24,
                transformations=[columns({"Value": "Messages"})],
            ),
            panel(
                "Patterns of the last hour",
                "The 50 patterns with the most messages in the last hour, with a sample. A pattern that is missing if the "
                "time range is moved back by a day is new. ~other: more patterns than sources.logs.patterns; ~skipped: more messages than "
                "pattern_rate.",
                "short",
                target(
                    f"topk(50, {PATTERNS} * on {OF_PATTERN} group_left (sample) max by {SAMPLED} (container_log_pattern_info"
                    f"{{{AGENT}}}) > 0 or on {OF_PATTERN} {PATTERNS} > 0) or {NONE}",
                    format="table",
                    instant=True,
                ),
                kind="table",
                width=24,
                transformations=[columns({"Value": "Messages"})],
            ),
            panel(
                "Messages by log",
                "The logs with the most messages of any severity." + SIXTEEN,
                "suffix: messages/s",
                target(f"{several(per_second('container_log_messages_total', LOG))} or {NONE}", NAME),
            ),
            panel(
                "Bytes by log",
                "What is written to each log. A log that fills the disk is among the first." + SIXTEEN,
                "Bps",
                target(f"{several(per_second('container_log_io_bytes_total', LOG))} or {NONE}", NAME),
            ),
            panel(
                "Since the last error",
                "Time since the last message of severity error or critical was read, of the 16 logs with the most recent "
                "ones. It begins again with each error.",
                "s",
                target(
                    f"bottomk(16, time() - max {LOG} (container_log_last_message_time_seconds{{{AGENT}}})) or {NONE}",
                    NAME,
                ),
            ),
            row("The source logs"),
            panel(
                "Files",
                "Log files that are followed. Fewer than there are containers: connscope check says which cannot be read.",
                "short",
                target(
                    f"sum {BY_AGENT.replace('(', '(log_source, ')} (connscope_logs_files{{{AGENT}}}) or {NONE}",
                    WHO + " {{log_source}}",
                ),
                width=8,
            ),
            panel(
                "Unread log bytes",
                "Bytes in the files that the agent has not read yet. Constantly above some MiB: more is logged than one thread can read.",
                "bytes",
                target(f"sum {BY_AGENT} (connscope_logs_lag_bytes{{{AGENT}}}) or {NONE}", WHO),
                width=8,
            ),
            panel(
                "Lost, left out and malformed",
                "Bytes that were lost before they were read, by reason; messages and files over a limit, by key; and lines that do "
                "not have the format of their log.",
                "short",
                target(
                    f"sum by (reason) (increase(connscope_logs_lost_bytes_total{{{AGENT}}}[$__rate_interval])) or {NONE}",
                    "lost, {{reason}} (bytes)",
                ),
                target(
                    f"sum by (key) (increase(connscope_logs_left_out_total{{{AGENT}}}[$__rate_interval])) or {NONE}",
                    "left out, {{key}}",
                ),
                target(
                    f"sum by (log_source) (increase(connscope_logs_malformed_total{{{AGENT}}}[$__rate_interval])) or {NONE}",
                    "not understood, {{log_source}}",
                ),
                width=8,
            ),
        ],
    )
