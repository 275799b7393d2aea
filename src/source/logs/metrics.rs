//! The metrics of the logs.

use super::labels::{CLASSIC, LEFT_OUT, LOG, LOST, PATTERN, PATTERN_INFO, SEVERITY, SOURCE, WORKLOAD};

crate::metrics! {
    /// Logged messages, by severity.
    CONTAINER_LOG_MESSAGES: Counter<u64> = "container.log.messages" in "{message}", by [LOG, SEVERITY], history [from_zero];
    /// Bytes written to the log.
    CONTAINER_LOG_IO: Counter<u64> = "container.log.io" in "By", by [LOG], history [from_zero];
    /// Logged messages of the severities in sources.logs.levels, by recurring pattern; ~other: over the limits of patterns, ~skipped: over sources.logs.pattern_rate.
    CONTAINER_LOG_PATTERNS: Counter<u64> = "container.log.patterns" in "{message}", by [PATTERN], history [from_zero];
    /// Sample of a pattern, in the attribute sample; always 1.
    CONTAINER_LOG_PATTERN_INFO: Gauge<u64> = "container.log.pattern.info" in "", by [PATTERN_INFO];
    /// Unix time at which the last message of severity error or critical was read; absent before the first.
    CONTAINER_LOG_LAST_MESSAGE_TIME: Gauge<f64> = "container.log.last_message.time" in "s", by [WORKLOAD];
    /// Logged messages, by log, severity and pattern.
    CONTAINER_CLASSIC_LOG_MESSAGES: Counter<u64> = "container.classic.log.messages" in "{message}", by [CLASSIC],
        only classic "container_log_messages_total" "Number of messages grouped by the automatically extracted repeated pattern";
    /// Log files that are followed.
    CONNSCOPE_LOGS_FILES: UpDownCounter = "connscope.logs.files" in "{file}", by [SOURCE];
    /// Bytes in the log files that the agent has not read yet.
    CONNSCOPE_LOGS_LAG: Gauge<u64> = "connscope.logs.lag" in "By";
    /// Log bytes lost before they were read, as far as known, by reason.
    CONNSCOPE_LOGS_LOST: Counter<u64> = "connscope.logs.lost" in "By", by [LOST];
    /// Items over a limit, by key: files over max_files or that are no regular files (each once), messages over the limits of patterns, messages over pattern_rate.
    CONNSCOPE_LOGS_LEFT_OUT: Counter<u64> = "connscope.logs.left_out" in "{message}", by [LEFT_OUT];
    /// Lines that could not be parsed in the format of their log.
    CONNSCOPE_LOGS_MALFORMED: Counter<u64> = "connscope.logs.malformed" in "{line}", by [SOURCE];
}
