//! The metrics of the logs.

use super::labels::{LEFT_OUT, LOG, LOST, PATTERN, PATTERN_INFO, SEVERITY, SOURCE, WHO};

crate::metrics! {
    /// Messages that were logged, by how bad they say they are.
    CONTAINER_LOG_MESSAGES: Counter<u64> = "container.log.messages" in "{message}", by [LOG, SEVERITY];
    /// Bytes that were written to the log.
    CONTAINER_LOG_IO: Counter<u64> = "container.log.io" in "By", by [LOG];
    /// Messages by their recurring pattern, of the severities that sources.logs.levels has; ~other are those for which there was no room, ~skipped those whose pattern was not looked for.
    CONTAINER_LOG_PATTERNS: Counter<u64> = "container.log.patterns" in "{message}", by [PATTERN];
    /// What the messages of a pattern say; always 1.
    CONTAINER_LOG_PATTERN_INFO: Gauge<u64> = "container.log.pattern.info" in "", by [PATTERN_INFO];
    /// When the last message of severity error or critical was read, in seconds since 1970; absent before the first.
    CONTAINER_LOG_LAST_MESSAGE_TIME: Gauge<f64> = "container.log.last_message.time" in "s", by [WHO];
    /// Log files that are followed.
    CONNSCOPE_LOGS_FILES: UpDownCounter = "connscope.logs.files" in "{file}", by [SOURCE];
    /// Bytes that are in the log files and were not read yet.
    CONNSCOPE_LOGS_LAG: Gauge<u64> = "connscope.logs.lag" in "By";
    /// Bytes that were not read or not looked at, as far as that is known.
    CONNSCOPE_LOGS_LOST: Counter<u64> = "connscope.logs.lost" in "By", by [LOST];
    /// What exceeds a limit, by key: files over max_files (each once), messages without a pattern of their own, messages whose pattern was not looked for.
    CONNSCOPE_LOGS_LEFT_OUT: Counter<u64> = "connscope.logs.left_out" in "{message}", by [LEFT_OUT];
    /// Lines that are not what the format of their log says.
    CONNSCOPE_LOGS_MALFORMED: Counter<u64> = "connscope.logs.malformed" in "{line}", by [SOURCE];
}
