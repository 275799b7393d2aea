//! The list of sources: the macro that makes the list and the settings of all, and functions over all of them.

use super::{SourceSpec, metrics};
use crate::host::Host;
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The settings of all sources of a list, as the macro [`sources!`](crate::sources) makes them. The configuration is given
/// one, and so names no source.
pub trait Catalog: Clone + Default + Serialize + DeserializeOwned + 'static {
    /// Every source, each with functions that find its settings.
    const SOURCES: &'static [SourceSpec<Self>];
}

/// Makes the settings `Sources` and the list `SOURCES`. Each line is a source: its key in the configuration, its type,
/// and the type of its settings.
///
/// The agent's own list is in [`catalog`](crate::catalog); `tests/house/sample.rs` makes one with a single source.
#[macro_export]
macro_rules! sources {
    ($(#[doc = $doc:literal] $key:ident: $kind:ty = $settings:ty;)*) => {
        use $crate::settings::values::section as section_or_default;

        /// The sources of metrics.
        #[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, default)]
        pub struct Sources {
            $(
                #[doc = $doc]
                #[serde(deserialize_with = "section_or_default")]
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

        /// Every source.
        pub const SOURCES: &[$crate::source::SourceSpec<Sources>] =
            &[$($crate::source::SourceSpec::of::<$kind>()),*];

        impl $crate::source::list::Catalog for Sources {
            const SOURCES: &'static [$crate::source::SourceSpec<Self>] = SOURCES;
        }
    };
}

/// The parts of the table of these sources, and the common metrics of sources.
pub fn parts<All>(sources: &[SourceSpec<All>]) -> impl Iterator<Item = &'static Part> {
    sources.iter().map(|spec| spec.part).chain([&metrics::PART])
}

/// The parts of the table of the enabled sources, and the common metrics of sources.
pub fn enabled_parts<All>(
    sources: &[SourceSpec<All>],
    settings: &All,
) -> impl Iterator<Item = &'static Part> {
    let enabled = sources.iter().filter(|spec| (spec.enabled)(settings));
    enabled.map(|spec| spec.part).chain([&metrics::PART])
}

/// What is said where no source is enabled: nothing is collected, so that the agent never becomes ready.
pub const NO_SOURCE: &str =
    "every source is switched off: set sources.conntrack.enabled to true, or that of another source";

/// Bounds of the sources' label sets with these settings.
pub fn bounds<All>(sources: &[SourceSpec<All>], settings: &All, host: &Host) -> Bounds {
    let mut bounds: Bounds = sources.iter().flat_map(|spec| (spec.bounds)(settings, host)).collect();
    bounds.push((&metrics::SOURCE, sources.len()));
    bounds
}

/// Settings that have no effect with this naming, each as a sentence that says what to do.
pub fn without_effect<All>(sources: &[SourceSpec<All>], settings: &All, naming: Profile) -> Vec<String> {
    let enabled = || sources.iter().filter(|spec| (spec.enabled)(settings));
    if enabled().next().is_none() {
        return vec![NO_SOURCE.to_owned()];
    }
    enabled().flat_map(|spec| (spec.without_effect)(settings, naming)).collect()
}

/// Sets what a flag of the command line is for, by its name with the dashes; the error says what is wrong with the value.
pub fn set_flag<All>(
    sources: &[SourceSpec<All>],
    settings: &mut All,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let spec = sources.iter().find(|spec| spec.flags.iter().any(|flag| flag.name == name));
    spec.map_or_else(
        || Err("no source has this flag".to_owned()),
        |spec| (spec.set_flag)(settings, name, value),
    )
}
