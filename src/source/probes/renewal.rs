//! Reloads the certificates and keys of targets when their files change.

use super::registry::Registry;
use super::runner::RunnerContext;
use crate::tls::{Files, Renewal, Stamps};
use std::collections::HashMap;
use std::sync::Arc;

/// Checks the files every `refresh`. Reading may be slow, so it runs on a blocking thread.
pub async fn certificates(common: Arc<RunnerContext>) {
    loop {
        tokio::time::sleep(common.settings.refresh).await;
        let shared = Arc::clone(&common);
        match tokio::task::spawn_blocking(move || refresh(&shared.registry)).await {
            Ok(()) => common.registry.clear_failure("certificates"),
            Err(error) if error.is_panic() => {
                common.registry.panicked("certificates", "reading certificates of targets again");
            }
            Err(_) => return, // the agent is stopping
        }
    }
}

/// Reloads the changed files of all targets. Files shared by several targets are checked once.
fn refresh(registry: &Registry) {
    let mut looks: HashMap<Files, Stamps> = HashMap::new();
    let mut renewed = 0;
    let mut refused = None;
    for entry in registry.entries() {
        let Some(tls) = entry.target.tls() else { continue };
        let now = looks.entry(tls.files().clone()).or_insert_with(|| tls.files().stamps());
        match tls.refresh(now) {
            Renewal::Unchanged => {}
            Renewal::Renewed => renewed += 1,
            Renewal::Refused(why) => {
                let (count, _) =
                    refused.get_or_insert_with(|| (0, format!("`{}` {why}", entry.target.settings.name)));
                *count += 1;
            }
        }
    }
    if renewed > 0 {
        tracing::info!(targets = renewed, "the certificates of targets have changed and were reloaded");
    }
    if let Some((targets, why)) = refused {
        tracing::warn!(
            targets,
            "the certificates of targets have changed and cannot be used: {why}; the previous ones stay in use"
        );
    }
}
