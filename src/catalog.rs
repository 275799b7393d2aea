//! The one file that names the sources. Adding a source is adding its folder and a line here.

use crate::metric::naming::Profile;
use crate::metric::{Bounds, Part};
use crate::settings::values::section;
use crate::source::{self, SourceSpec, conntrack, probes, sockets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sources: key of the configuration, type, and type of its settings.
macro_rules! sources {
    ($(#[doc = $doc:literal] $key:ident: $kind:ty = $settings:ty;)*) => {
        /// Where the metrics come from.
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Sources {
            $(
                #[doc = $doc]
                #[serde(deserialize_with = "section")]
                pub $key: $settings,
            )*
        }

        $(
            impl AsRef<$settings> for Sources {
                fn as_ref(&self) -> &$settings {
                    &self.$key
                }
            }

            impl AsMut<$settings> for Sources {
                fn as_mut(&mut self) -> &mut $settings {
                    &mut self.$key
                }
            }
        )*

        /// Every source there is.
        pub const SOURCES: &[SourceSpec<Sources>] = &[$(SourceSpec::of::<$kind>()),*];
    };
}

sources! {
    /// Connection tracking statistics.
    conntrack: conntrack::Conntrack = conntrack::config::Conntrack;
    /// Sockets.
    sockets: sockets::Sockets = sockets::config::Sockets;
    /// Active checks of configured targets.
    probes: probes::Probes = probes::config::Probes;
}

/// The parts of the table that the sources have, and what is said of each of them.
pub fn parts() -> impl Iterator<Item = &'static Part> {
    SOURCES.iter().map(|spec| spec.part).chain([&source::metrics::PART])
}

/// What these settings make of the bounds of the sources' labels.
pub fn bounds(settings: &Sources) -> Bounds {
    let mut bounds: Bounds = SOURCES.iter().flat_map(|spec| (spec.bounds)(settings)).collect();
    bounds.push((&source::metrics::SOURCE, SOURCES.len()));
    bounds
}

/// Settings that have no effect where the endpoint prints these names, each as a sentence that says what to do.
pub fn without_effect(settings: &Sources, naming: Profile) -> Vec<String> {
    SOURCES
        .iter()
        .filter(|spec| (spec.enabled)(settings))
        .flat_map(|spec| (spec.without_effect)(settings, naming))
        .collect()
}
