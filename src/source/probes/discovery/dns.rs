//! Names that stand for targets: services (`SRV`) and addresses.

use super::Target;
use crate::config::probes::{Record, Target as Settings};
use crate::metric::label::ProbeError;
use crate::source::probes::origin::Origin;
use crate::source::probes::registry::Change;
use crate::source::probes::resolve::message::Answer;
use crate::source::probes::runner::Common;
use std::sync::Arc;

/// Looks one name of `sources.probes.dns` up; `None` where nothing has changed, or nobody answered: then the targets it
/// stood for stay.
pub async fn look(common: &Common, index: usize, name: &str) -> Option<Change> {
    let names = common.settings.dns.get(index)?;
    let group = format!("dns {index} {name}");
    let here = Origin::default();
    let asked = common.resolver.ask(name, names.record, &here);
    let within = common.settings.timeout;
    let answers = match tokio::time::timeout(within, asked).await {
        Ok(Ok(answers)) => answers,
        // A name that is gone stands for nothing any more.
        Ok(Err(fault)) if fault.error == ProbeError::DnsNotFound => Vec::new(),
        Ok(Err(fault)) => {
            common.registry.fail(&group, fault.why);
            return None;
        }
        Err(_) => {
            let within = humantime::format_duration(within);
            common.registry.fail(&group, format!("no name server answered within {within}"));
            return None;
        }
    };
    let mut settings: Vec<Settings> =
        answers.into_iter().map(|answer| target(&names.target, names.record, name, answer)).collect();
    settings.sort_by_key(Settings::identity);
    settings.dedup_by_key(|target| target.identity());
    let targets: Result<Vec<Target>, String> =
        settings.into_iter().map(|settings| Target::new(&Arc::new(settings), &common.settings)).collect();
    match targets {
        Ok(targets) => Some(common.registry.set(&group, targets)),
        Err(why) => {
            common.registry.fail(&group, why);
            None
        }
    }
}

/// The target that one record stands for (pure).
pub fn target(template: &Settings, record: Record, name: &str, answer: Answer) -> Settings {
    let mut target = template.clone();
    if target.name.is_empty() {
        name.clone_into(&mut target.name);
    }
    match answer {
        Answer::Address(address) => target.host = address.to_string(),
        Answer::Service { host, port } => {
            target.host = host;
            if record == Record::Srv {
                target.port = Some(port);
            }
        }
    }
    target
}
