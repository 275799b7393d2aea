//! The labels of a reading as they are kept: in the order of their keys, and shared by all who have the same.
//!
//! Ten thousand targets with a dozen numbers each have the same few labels at every cycle; they are put in order and kept
//! once, and a reading has a pointer to them.

use super::Label;
use std::ops::Deref;
use std::sync::Arc;

/// Labels with their values, in the order of their keys. A clone costs a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Label, Arc<str>)]>);

impl Labels {
    /// Labels, given in any order.
    pub fn new(mut labels: Vec<(Label, Arc<str>)>) -> Self {
        labels.sort_unstable_by_key(|(label, _)| label.key());
        Self(labels.into())
    }

    /// The labels and one more.
    #[must_use]
    pub fn with(&self, label: Label, value: impl Into<Arc<str>>) -> Self {
        self.with_all([Some((label, value.into()))])
    }

    /// These and more, put in order once.
    #[must_use]
    pub fn with_all<const COUNT: usize>(&self, more: [Option<(Label, Arc<str>)>; COUNT]) -> Self {
        let mut labels = Vec::with_capacity(self.len() + COUNT);
        labels.extend_from_slice(self);
        labels.extend(more.into_iter().flatten());
        Self::new(labels)
    }
}

impl Deref for Labels {
    type Target = [(Label, Arc<str>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<&Self> for Labels {
    fn from(labels: &Self) -> Self {
        labels.clone()
    }
}

impl From<&Vec<(Label, Arc<str>)>> for Labels {
    fn from(labels: &Vec<(Label, Arc<str>)>) -> Self {
        Self::new(labels.clone())
    }
}

impl From<&[(Label, Arc<str>)]> for Labels {
    fn from(labels: &[(Label, Arc<str>)]) -> Self {
        Self::new(labels.to_vec())
    }
}

impl<const COUNT: usize> From<&[(Label, Arc<str>); COUNT]> for Labels {
    fn from(labels: &[(Label, Arc<str>); COUNT]) -> Self {
        Self::new(labels.to_vec())
    }
}
