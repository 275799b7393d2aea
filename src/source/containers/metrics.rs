//! The metrics of the containers.

use super::labels::{AGENT, CLASSIC, INFO, LEFT_OUT, SOURCE, WHO};

crate::metrics! {
    /// What is known of a container or systemd service: id, image, runtime, control group; always 1.
    CONTAINER_INFO: Gauge<u64> = "container.info" in "", by [INFO];
    /// Time since the first process of the container or service was started; absent once it has ended.
    CONTAINER_UPTIME: Gauge<f64> = "container.uptime" in "s", by [WHO];
    /// Starts after the first: a new control group under the same identity, or another first process in the same group.
    CONTAINER_RESTARTS: Counter<u64> = "container.restarts" in "{restart}", by [WHO];
    /// Processes of a container that the kernel killed because its memory limit or the machine's memory was exhausted.
    CONTAINER_OOM_KILLS: Counter<u64> = "container.oom_kills" in "{process}", by [WHO];
    /// Starts after the first, by the identity of the container.
    CONTAINER_CLASSIC_RESTARTS: Counter<u64> = "container.classic.restarts" in "{restart}", by [CLASSIC],
        only classic "container_restarts_total" "Number of times the container was restarted";
    /// Processes that the kernel killed because memory was exhausted, by the identity of the container.
    CONTAINER_CLASSIC_OOM_KILLS: Counter<u64> = "container.classic.oom_kills" in "{process}", by [CLASSIC],
        only classic "container_oom_kills_total" "Total number of times the container was terminated by the OOM killer";
    /// Version of the running agent; always 1.
    CONTAINER_CLASSIC_AGENT: Gauge<u64> = "container.classic.agent" in "", by [AGENT],
        only classic "node_agent_info" "Meta information about the agent";
    /// Containers and systemd services that are running.
    CONNSCOPE_CONTAINERS_TRACKED: UpDownCounter = "connscope.containers.tracked" in "{container}";
    /// Running containers whose name is in no engine's file, or in none that the agent may read.
    CONNSCOPE_CONTAINERS_UNNAMED: UpDownCounter = "connscope.containers.unnamed" in "{container}";
    /// What exceeds a limit, by key: containers and services over inventory.limit, each counted once.
    CONNSCOPE_CONTAINERS_LEFT_OUT: Counter<u64> = "connscope.containers.left_out" in "{container}", by [LEFT_OUT];
    /// How each part of the source is read; always 1.
    CONNSCOPE_CONTAINERS_SOURCE: Gauge<u64> = "connscope.containers.source" in "", by [SOURCE];
}
