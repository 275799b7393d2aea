//! The labels of a reading as they are kept: in the order of their keys, and shared by all who have the same.
//!
//! Ten thousand targets with a dozen numbers each have the same few labels at every cycle; they are put in order and kept
//! once, and a reading has a pointer to them.

use super::Label;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

/// Labels with their values, in the order of their keys. A clone costs a pointer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Label, Arc<str>)]>);

thread_local! {
    /// Where labels are put in order before it is known how many they are: a cycle makes tens of thousands.
    static ROOM: RefCell<Vec<(Label, Arc<str>)>> = const { RefCell::new(Vec::new()) };
}

impl Labels {
    /// Labels, given in any order.
    pub fn new(mut labels: Vec<(Label, Arc<str>)>) -> Self {
        put_in_order(&mut labels);
        Self(labels.into())
    }

    /// The labels and one more.
    #[must_use]
    pub fn with(&self, label: Label, value: impl Into<Arc<str>>) -> Self {
        self.with_all([Some((label, value.into()))])
    }

    /// These and more, put in order once: the fewer of them are out of order, the faster.
    #[must_use]
    pub fn with_all<const COUNT: usize>(&self, more: [Option<(Label, Arc<str>)>; COUNT]) -> Self {
        ROOM.with_borrow_mut(|room| {
            room.clear();
            room.extend_from_slice(self);
            room.extend(more.into_iter().flatten());
            put_in_order(room);
            Self(room.drain(..).collect())
        })
    }
}

fn put_in_order(labels: &mut [(Label, Arc<str>)]) {
    labels.sort_unstable_by(|(left, _), (right, _)| order(left.key(), right.key()));
}

/// Most keys differ in their first bytes, so that a number says which is first.
fn order(left: &str, right: &str) -> Ordering {
    let first = |key: &str| key.as_bytes().first_chunk().map(|first| u64::from_be_bytes(*first));
    match first(left).zip(first(right)) {
        Some((one, other)) if one != other => one.cmp(&other),
        _ => left.cmp(right),
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

#[cfg(test)]
mod tests {
    use super::order;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_words(left in "[a-c]{0,10}", right in "[a-c]{0,10}") {
            prop_assert_eq!(order(&left, &right), left.cmp(&right));
        }
    }
}
