//! Targets from DNS names: services (`SRV`) and addresses.

use super::Target;
use crate::source::probes::config::{Record, Target as Settings};
use crate::source::probes::fault::Fault;
use crate::source::probes::origin::Origin;
use crate::source::probes::registry::TargetChanges;
use crate::source::probes::resolve::message::RecordData;
use crate::source::probes::runner::RunnerContext;
use std::sync::Arc;

/// A name of `sources.probes.dns`, which is looked up repeatedly.
#[derive(Debug)]
pub struct DnsName {
    index: usize,
    name: String,
    /// The records of the present targets, sorted; `None` if not all targets were accepted.
    made: Option<Vec<RecordData>>,
}

impl DnsName {
    /// Creates it without records; `index` is the position in the list.
    pub fn new(index: usize, name: &str) -> Self {
        Self { index, name: name.to_owned(), made: None }
    }

    /// Name of its group of targets.
    pub fn group(&self) -> String {
        format!("dns {} {}", self.index, self.name)
    }

    /// Looks up the name. `None` if nothing has changed, or if no server answered: then the targets stay.
    pub async fn refresh(&mut self, common: &Arc<RunnerContext>) -> Option<TargetChanges> {
        let group = self.group();
        let mut records = match self.ask(common).await {
            Ok(records) => records,
            Err(why) => {
                common.registry.fail(&group, why);
                return None;
            }
        };
        // Servers rotate the order.
        records.sort_unstable();
        records.dedup();
        if self.made.as_ref() == Some(&records) {
            common.registry.clear_failure(&group);
            return None;
        }
        // Creating targets reads files and compiles expressions, so it does not run on the thread of the probes.
        let (shared, index, name) = (Arc::clone(common), self.index, self.name.clone());
        let made = tokio::task::spawn_blocking(move || {
            let change =
                make(&shared, index, &name, &records).map(|targets| shared.registry.set(&group, targets));
            (change.map_err(|why| shared.registry.fail(&group, why)).ok(), records)
        });
        let (change, records) = match made.await {
            Ok(made) => made,
            // The panic is reported by the caller.
            Err(error) => std::panic::resume_unwind(error.try_into_panic().ok()?),
        };
        let change = change?;
        self.made = (!change.short).then_some(records);
        Some(change)
    }

    async fn ask(&self, common: &RunnerContext) -> Result<Vec<RecordData>, String> {
        let Some(names) = common.settings.dns.get(self.index) else { return Ok(Vec::new()) };
        let here = Origin::default();
        let asked = common.resolver.records(&self.name, names.record, &here);
        let within = common.settings.timeout;
        match tokio::time::timeout(within, asked).await {
            // A name that does not exist has no targets.
            Ok(Ok(records)) => Ok(records),
            Ok(Err(fault)) => Err(fault.message),
            Err(_) => Err(Fault::unanswered(within).message),
        }
    }
}

/// Creates the targets of the records.
fn make(
    common: &RunnerContext,
    index: usize,
    name: &str,
    records: &[RecordData],
) -> Result<Vec<Target>, String> {
    let Some(names) = common.settings.dns.get(index) else { return Ok(Vec::new()) };
    let one = |data: &RecordData| target(&names.target, names.record, name, data.clone());
    let mut settings: Vec<Settings> = records.iter().map(one).collect();
    settings.sort_by_key(Settings::identity);
    settings.dedup_by_key(|target| target.identity());
    settings.into_iter().map(|settings| Target::new(&Arc::new(settings), &common.settings)).collect()
}

/// The target of a record (pure).
pub fn target(template: &Settings, record: Record, name: &str, data: RecordData) -> Settings {
    let mut target = template.clone();
    if target.name.is_empty() {
        name.clone_into(&mut target.name);
    }
    match data {
        RecordData::Address(address) => target.host = address.to_string(),
        RecordData::Service { host, port } => {
            target.host = host;
            target.absolute = true;
            if record == Record::Srv {
                target.port = Some(port);
            }
        }
    }
    target
}
