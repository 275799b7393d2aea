//! The names of the disks or interfaces that the configuration has (pure).

use std::collections::BTreeSet;

/// The names that are wanted; all that are the machine's own where there is none.
#[derive(Debug)]
pub(super) struct Wanted {
    key: &'static str,
    names: Vec<String>,
    /// Those that are not there, and of which that was said.
    missing: BTreeSet<String>,
}

impl Wanted {
    /// The names of a key of `sources.node`.
    pub(super) fn new(key: &'static str, names: &[String]) -> Self {
        Self { key, names: names.to_vec(), missing: BTreeSet::new() }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether one has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|wanted| wanted == name)
    }

    /// Which names are not there, as a sentence for the log: once, and again if one was there in the meantime.
    pub(super) fn missing<'a>(&mut self, there: impl Iterator<Item = &'a str>) -> Option<String> {
        let there: BTreeSet<&str> = there.collect();
        let missing = self.names.iter().filter(|name| !there.contains(name.as_str()));
        let missing: BTreeSet<String> = missing.cloned().collect();
        let new: Vec<&str> = missing.difference(&self.missing).map(String::as_str).collect();
        let said =
            (!new.is_empty()).then(|| format!("sources.node.{}: not there: {}", self.key, new.join(", ")));
        self.missing = missing;
        said
    }

    /// The names that were not there the last time.
    pub(super) fn absent(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn what_is_not_there_is_said_once_until_it_was_there() {
        let mut wanted = Wanted::new("disks", &["sda", "sdb"].map(str::to_owned));
        let said = |wanted: &mut Wanted, there: &[&str]| wanted.missing(there.iter().copied());
        assert_eq!(said(&mut wanted, &["vda"]).as_deref(), Some("sources.node.disks: not there: sda, sdb"));
        assert_eq!(said(&mut wanted, &["vda"]), None);
        assert_eq!(wanted.absent().collect::<Vec<_>>(), ["sda", "sdb"]);
        assert_eq!(said(&mut wanted, &["sda"]), None);
        assert_eq!(said(&mut wanted, &["sdb"]).as_deref(), Some("sources.node.disks: not there: sda"));
        assert_eq!(said(&mut wanted, &["sda", "sdb"]), None);
    }
}
