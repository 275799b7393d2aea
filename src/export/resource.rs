//! The OpenTelemetry resource of the metrics.
//!
//! The SDK's detector gives `OTEL_RESOURCE_ATTRIBUTES` precedence over `OTEL_SERVICE_NAME` and does not decode values,
//! both against the specification, so the resource is created here.

use crate::catalog::Config;
use crate::cloud::instance::Instance;
use crate::cloud::{Cloud, timeouts};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Namespace of name-based instance ids (semantic conventions, `service.instance.id`).
const INSTANCE_IDS: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);

/// The resource, which is completed when the cloud's metadata is there.
#[derive(Debug, Clone)]
pub struct CurrentResource {
    /// As it was when the agent was started.
    at_start: Resource,
    late: Option<Arc<LateResource>>,
}

#[derive(Debug)]
struct LateResource {
    cloud: Arc<Cloud>,
    config: Config,
    /// What was known of the machine when it was made last, and the resource.
    last: Mutex<(Arc<Instance>, Resource)>,
}

impl From<Resource> for CurrentResource {
    /// One that does not change.
    fn from(resource: Resource) -> Self {
        Self { at_start: resource, late: None }
    }
}

impl CurrentResource {
    /// That of this configuration, in this cloud, with what is known of it by now.
    pub fn new(config: &Config, cloud: &Arc<Cloud>) -> Self {
        let instance = cloud.instance();
        let at_start = in_cloud(config, &instance);
        let last = Mutex::new((instance, at_start.clone()));
        let late = LateResource { cloud: Arc::clone(cloud), config: config.clone(), last };
        Self { at_start, late: Some(Arc::new(late)) }
    }

    /// What the providers of readers have, which never changes.
    pub fn at_start(&self) -> &Resource {
        &self.at_start
    }

    /// As it is now; `None` where it cannot change.
    pub fn now(&self) -> Option<Resource> {
        let late = self.late.as_ref()?;
        Some(late.with(late.cloud.instance()))
    }

    /// The same for the first export, which waits for the metadata for a second at most.
    pub fn at_first_export(&self) -> Option<Resource> {
        let late = self.late.as_ref()?;
        Some(late.with(late.cloud.awaited(timeouts::FIRST_EXPORT)))
    }
}

impl LateResource {
    fn with(&self, instance: Arc<Instance>) -> Resource {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last.0 != *instance {
            let resource = in_cloud(&self.config, &instance);
            *last = (instance, resource);
        }
        last.1.clone()
    }
}

/// The resource without the attributes of a cloud.
pub fn resource(config: &Config) -> Resource {
    in_cloud(config, &Instance::default())
}

/// The resource: what can be told by itself, then what is known of the machine in its cloud, then `OTEL_RESOURCE_ATTRIBUTES`,
/// then `OTEL_SERVICE_NAME`. The id of the machine in its cloud is `host.id`; `machine.id` then has what it was.
pub fn in_cloud(config: &Config, instance: &Instance) -> Resource {
    let host = host_name();
    let machine = machine_id();
    // Stable over restarts and changes of settings. A second agent on the machine has another configuration file, or, if it
    // is configured by flags, another listen address.
    let agent = config
        .file
        .as_ref()
        .map_or_else(|| config.export.prometheus.listen.to_string(), |file| file.display().to_string());
    let service = format!("{}/{host}/{agent}", machine.as_deref().unwrap_or_default());
    let service = Uuid::new_v5(&INSTANCE_IDS, service.as_bytes()).to_string();
    let mut attributes = vec![
        KeyValue::new("service.name", "connscope"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", service),
        KeyValue::new("host.name", host),
        KeyValue::new("os.type", "linux"),
    ];
    if instance.id.is_some() {
        attributes.extend(machine.clone().map(|id| KeyValue::new("machine.id", id)));
    }
    attributes.extend(machine.map(|id| KeyValue::new("host.id", id)));
    let environment = &config.environment;
    let named = environment.resource.iter().rfind(|(key, _)| key.as_str() == "cloud.provider");
    let named = named.map(|(_, value)| value.as_str());
    attributes.extend(instance.attributes(named).into_iter().map(|(key, value)| KeyValue::new(key, value)));
    attributes
        .extend(environment.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    attributes.extend(environment.service_name.clone().map(|name| KeyValue::new("service.name", name)));
    Resource::builder_empty()
        .with_attributes(
            TelemetryResourceDetector
                .detect()
                .iter()
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone())),
        )
        .with_attributes(attributes)
        .build()
}

/// The resource with keys that are valid label names in Prometheus' text format, for `target_info`. One invalid name
/// would make the whole scrape fail.
///
/// The rules are those of Prometheus' OTLP endpoint (`otlptranslator`): every character other than an ASCII letter,
/// digit or underscore becomes an underscore; a name that begins with a digit gets the prefix `key_`, one that begins
/// with an underscore the prefix `key` (names with two leading underscores, as `__name__`, are reserved). Added here:
/// `le` and `quantile`, which only histograms and summaries may have, get the prefix `key_`. The values of
/// keys that become the same are joined by `;`, in the order of the keys
/// (`specification/compatibility/prometheus_and_openmetrics.md`).
pub fn for_prometheus(resource: &Resource) -> Resource {
    let mut attributes: Vec<(&str, String)> =
        resource.iter().map(|(key, value)| (key.as_str(), value.to_string())).collect();
    attributes.sort();
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in attributes {
        let valid = |one: char| if one.is_ascii_alphanumeric() { one } else { '_' };
        let name: String = key.chars().map(valid).collect();
        let prefix = match name.as_bytes().first() {
            Some(b'0'..=b'9') | None => "key_",
            Some(b'_') => "key",
            Some(_) if matches!(&*name, "le" | "quantile") => "key_",
            Some(_) => "",
        };
        match labels.entry(format!("{prefix}{name}")) {
            Entry::Vacant(new) => _ = new.insert(value),
            Entry::Occupied(mut there) => {
                there.get_mut().push(';');
                there.get_mut().push_str(&value);
            }
        }
    }
    let labels = labels.into_iter().map(|(name, value)| KeyValue::new(name, value));
    Resource::builder_empty().with_attributes(labels).build()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `machine-id(5)`.
fn machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|id| id.trim().to_owned())
        .find(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::resource;
    use crate::catalog::Config;
    use crate::config::Flags;
    use opentelemetry::Key;

    fn instance(file: Option<&str>, listen: &str) -> String {
        let flags = Flags { listen: vec![listen.to_owned()], ..Flags::default() };
        let mut config = Config::load(None, &|_| None, &flags).unwrap();
        config.file = file.map(Into::into);
        resource(&config).get(&Key::new("service.instance.id")).unwrap().to_string()
    }

    #[test]
    fn the_instance_is_the_same_with_other_settings_and_another_for_a_second_agent() {
        let own = instance(Some("/etc/connscope/connscope.yaml"), "127.0.0.1:9371");
        assert_eq!(own, instance(Some("/etc/connscope/connscope.yaml"), ":9372"));
        assert_ne!(own, instance(Some("/etc/connscope/second.yaml"), "127.0.0.1:9371"));
        assert_ne!(instance(None, ":9371"), instance(None, ":9372"));
        assert_eq!(instance(None, ":9371"), instance(None, ":9371"));
    }
}
