//! The readings under the names and labels of coroot-node-agent: the identity is `container_id`, the machine `machine_id`.

use super::delay::ContainerDelays;
use super::destinations::ReportedDestination;
use super::listeners::{DOCKER, ListenAddress};
use super::metrics;
use super::resources::usage::Usage;
use super::tcp::Counts;
use crate::cloud::Cloud;
use crate::host::inventory::{Container, Workload};
use crate::host::machine;
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use std::path::Path;
use std::sync::Arc;

/// The numbers of a container, under either name.
pub(super) struct Numbers<'a> {
    pub(super) restarts: u64,
    /// `None` where nothing counts them.
    pub(super) kills: Option<u64>,
    /// `None` where it is not reported.
    pub(super) waited: Option<ContainerDelays>,
    /// `None` where it is not read.
    pub(super) usage: Option<&'a Usage>,
}

/// What every classic series has.
pub(super) struct Classic {
    machine: Arc<str>,
    cloud: Option<Arc<Cloud>>,
}

impl Classic {
    /// The machine is that of the files below a root, in this cloud.
    pub(super) fn new(root: &Path, cloud: Option<&Arc<Cloud>>) -> Self {
        Self { machine: machine::id(root), cloud: cloud.cloned() }
    }

    /// The labels of a container.
    pub(super) fn labels(&self, workload: &Workload) -> Labels {
        Labels::new(vec![
            (Label::ClassicContainerId, Arc::clone(&workload.identity)),
            (Label::ClassicMachineId, Arc::clone(&self.machine)),
        ])
    }

    /// The readings of a destination; unless connections are `counted`, how many are open.
    pub(super) fn destination(
        &self,
        workload: &Workload,
        destination: ReportedDestination,
        counts: &Counts,
        counted: bool,
        out: &mut Readings,
    ) {
        let requested = self.labels(workload).with(Label::ClassicDestination, destination.requested.text());
        let failed: u64 = counts.failed.iter().sum();
        if failed > 0 {
            out.observe(metrics::CONTAINER_CLASSIC_FAILED_CONNECTS, &requested, failed);
        }
        let labels = requested.with(Label::ClassicActualDestination, destination.actual.text());
        if !counted {
            out.observe(metrics::CONTAINER_CLASSIC_ACTIVE_CONNECTIONS, &labels, counts.open());
            return;
        }
        if counts.opened + counts.closed + counts.reset + counts.open() > 0 {
            out.observe(metrics::CONTAINER_CLASSIC_CONNECTS, &labels, counts.opened);
            out.observe(metrics::CONTAINER_CLASSIC_ACTIVE_CONNECTIONS, &labels, counts.open());
            out.observe(metrics::CONTAINER_CLASSIC_CONNECTION_TIME, &labels, counts.connecting);
            out.observe(metrics::CONTAINER_CLASSIC_BYTES_SENT, &labels, counts.sent);
            out.observe(metrics::CONTAINER_CLASSIC_BYTES_RECEIVED, &labels, counts.received);
        }
        out.observe(metrics::CONTAINER_CLASSIC_RETRANSMITS, &labels, counts.retransmits);
    }

    /// The reading of an address that a container has connections to.
    pub(super) fn latency(&self, workload: &Workload, address: Arc<str>, seconds: f64, out: &mut Readings) {
        let labels = self.labels(workload).with(Label::ClassicDestinationIp, address);
        out.observe(metrics::CONTAINER_CLASSIC_LATENCY, &labels, seconds);
    }

    /// The reading of an address that a container listens at, or did.
    pub(super) fn listener(&self, workload: &Workload, at: ListenAddress, open: bool, out: &mut Readings) {
        let proxy = if at.published { DOCKER } else { "" };
        let labels = self.labels(workload).with(Label::ClassicListenAddr, at.at.to_string());
        let labels = labels.with(Label::Proxy, proxy);
        out.observe(metrics::CONTAINER_CLASSIC_LISTEN, &labels, u64::from(open));
    }

    /// The readings of a container.
    pub(super) fn observe(&self, container: &Container, numbers: &Numbers<'_>, out: &mut Readings) {
        let labels = self.labels(&container.workload);
        out.observe(metrics::CONTAINER_CLASSIC_RESTARTS, &labels, numbers.restarts);
        if let Some(kills) = numbers.kills {
            out.observe(metrics::CONTAINER_CLASSIC_OOM_KILLS, &labels, kills);
        }
        if let Some(waited) = numbers.waited {
            out.observe(metrics::CONTAINER_CLASSIC_CPU_DELAY, &labels, waited.cpu);
            if let Some(disk) = waited.disk {
                out.observe(metrics::CONTAINER_CLASSIC_DISK_DELAY, &labels, disk);
            }
        }
        if let Some(usage) = numbers.usage {
            observe_usage(&labels, usage, out);
        }
    }

    /// The reading of a type of application that a container has.
    pub(super) fn application(&self, workload: &Workload, word: &Arc<str>, out: &mut Readings) {
        let labels = self.labels(workload).with(Label::ClassicApplicationType, Arc::clone(word));
        out.observe(metrics::CONTAINER_CLASSIC_APPLICATION, labels, 1);
    }

    /// What is known of the machine in its cloud. A label whose value is not known is empty, as coroot-node-agent has it.
    fn in_cloud(&self, out: &mut Readings) {
        let instance = self.cloud.as_ref().map(|cloud| cloud.instance()).unwrap_or_default();
        let known = |value: &Option<String>| Arc::from(value.as_deref().unwrap_or_default());
        let labels = [
            (Label::ClassicProvider, instance.classic_provider().into()),
            (Label::ClassicAccountId, known(&instance.account_id)),
            (Label::ClassicInstanceId, known(&instance.id)),
            (Label::ClassicInstanceType, known(&instance.kind)),
            (Label::ClassicInstanceLifeCycle, known(&instance.life_cycle)),
            (Label::ClassicRegion, known(&instance.region)),
            (Label::ClassicAvailabilityZone, known(&instance.availability_zone)),
            (Label::ClassicAvailabilityZoneId, known(&instance.availability_zone_id)),
            (Label::ClassicLocalIpv4, known(&instance.local_ipv4)),
            (Label::ClassicPublicIpv4, known(&instance.public_ipv4)),
            (Label::ClassicMachineId, Arc::clone(&self.machine)),
        ];
        out.observe(metrics::CONTAINER_CLASSIC_NODE_CLOUD, &labels, 1);
    }

    /// Those of the machine, and of the agent itself.
    pub(super) fn finish(&self, out: &mut Readings) {
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| Arc::from(text.to_string_lossy());
        let labels = [
            (Label::ClassicHostname, text(system.nodename())),
            (Label::ClassicKernelVersion, text(system.release())),
            (Label::ClassicMachineId, Arc::clone(&self.machine)),
        ];
        out.observe(metrics::CONTAINER_CLASSIC_NODE, &labels, 1);
        self.in_cloud(out);
        let labels = [
            (Label::ClassicMachineId, Arc::clone(&self.machine)),
            (Label::Version, env!("CARGO_PKG_VERSION").into()),
        ];
        out.observe(metrics::CONTAINER_CLASSIC_AGENT, &labels, 1);
    }
}

/// The readings of what a container uses.
fn observe_usage(labels: &Labels, usage: &Usage, out: &mut Readings) {
    let (latest, memory) = (usage.latest.as_ref(), usage.latest.as_ref().map(|latest| latest.memory));
    if let Some(limit) = latest.and_then(|latest| latest.cpu_limit) {
        out.observe(metrics::CONTAINER_CLASSIC_CPU_LIMIT, labels, limit);
    }
    if let Some(used) = usage.cpu.seconds() {
        out.observe(metrics::CONTAINER_CLASSIC_CPU_USAGE, labels, used);
    }
    if let Some(throttled) = usage.throttled.seconds() {
        out.observe(metrics::CONTAINER_CLASSIC_CPU_THROTTLED, labels, throttled);
    }
    let gauges = [
        (metrics::CONTAINER_CLASSIC_MEMORY_LIMIT, latest.and_then(|latest| latest.memory_limit)),
        (metrics::CONTAINER_CLASSIC_MEMORY_RSS, memory.and_then(|memory| memory.rss)),
        (metrics::CONTAINER_CLASSIC_MEMORY_CACHE, memory.and_then(|memory| memory.cache)),
    ];
    for (metric, bytes) in gauges {
        if let Some(bytes) = bytes {
            out.observe(metric, labels, bytes);
        }
    }
}
