//! A document as a tree of nodes, each with its position in the text (pure).

use crate::text::{LONGEST_NAME, bounded};
use std::fmt;
use std::rc::Rc;

/// One value of a document. An alias (`*name`) shares the node of its anchor.
#[derive(Debug)]
pub struct Node {
    /// Scalar, list or mapping.
    pub(super) value: Value,
    /// Line and column of the node's first character.
    pub(super) at: Position,
    /// Nodes in it and itself, those behind aliases counted at every use.
    pub(super) size: u32,
    /// Bytes of the texts in it, those behind aliases counted at every use.
    pub(super) bytes: u32,
    /// Levels in it and itself.
    pub(super) depth: u32,
}

/// Line and column, both from 1.
pub(super) type Position = (u32, u32);

#[derive(Debug)]
pub(super) enum Value {
    Scalar {
        text: Box<str>,
        style: Style,
    },
    List {
        items: Box<[Rc<Node>]>,
        /// Further ones, which were not kept.
        more: u32,
    },
    /// In the order of the text; no key is repeated.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// With quotes, or as a block: a text.
    Quoted,
    /// Without quotes: a text, a number, a truth value or nothing, whichever it is taken for.
    Plain,
    /// Without quotes in JSON: a number, a truth value or nothing, and no text.
    Literal,
}

impl Node {
    /// A scalar at its position.
    pub(super) fn scalar(text: String, style: Style, at: Position) -> Self {
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self { value: Value::Scalar { text: text.into_boxed_str(), style }, at, size: 1, bytes, depth: 1 }
    }

    /// Text of the node, if it is a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List { .. } | Value::Map(_) => None,
        }
    }

    /// The items of a list, and how many more there are that were not kept.
    pub fn items(&self) -> Result<(&[Rc<Self>], u32), Error> {
        match &self.value {
            Value::List { items, more } => Ok((items, *more)),
            Value::Scalar { .. } | Value::Map(_) => Err(Error::new("is not a list").at(self.at)),
        }
    }

    /// The value of a key of a section.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(known, _)| known.text() == Some(key)).map(|(_, value)| &**value)
    }

    /// Whether it stands for nothing: empty, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style: Style::Plain | Style::Literal }
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// What is wrong with a document: a message, the key it is about, and its position.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    /// Steps from the inside out: it is written while the error goes up.
    path: Vec<Step>,
    at: Option<Position>,
}

/// One step from a node to one in it.
#[derive(Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    /// A key, which whoever writes the document chooses.
    pub(super) fn key(name: &str) -> Self {
        Self::Key(bounded(name, LONGEST_NAME))
    }
}

/// Longest message: room for the keys of the longest section.
const LONGEST_MESSAGE: usize = 4096;

impl Error {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        let message = bounded(&message.to_string(), LONGEST_MESSAGE);
        Self(Box::new(Inner { message, path: Vec::new(), at: None }))
    }

    /// The same, of an item of a list.
    #[must_use]
    pub fn in_item(self, index: usize) -> Self {
        self.within(Step::Index(index))
    }

    /// The same, of the value of a key.
    #[must_use]
    pub fn in_key(self, key: &str) -> Self {
        self.within(Step::key(key))
    }

    /// The position, where none is known yet: the innermost is the one that helps.
    pub(super) fn at(mut self, at: Position) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    /// The step that led to where it happened.
    pub(super) fn within(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The key it is about, such as `sources.probes.targets[2].host`; `None` where it is about the whole document.
    pub fn key(&self) -> Option<String> {
        let mut key = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Key(name) => {
                    if !key.is_empty() {
                        key.push('.');
                    }
                    key.push_str(name);
                }
                Step::Index(index) => {
                    key.push('[');
                    key.push_str(&index.to_string());
                    key.push(']');
                }
            }
        }
        (!key.is_empty()).then_some(key)
    }

    /// Line and column, from 1.
    pub fn position(&self) -> (u64, u64) {
        let (line, column) = self.0.at.unwrap_or((1, 1));
        (line.into(), column.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key() {
            Some(key) => write!(formatter, "{key}: {}", self.message()),
            None => formatter.write_str(self.message()),
        }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let field = bounded(field, LONGEST_NAME);
        Self::new(format_args!("unknown field `{field}`, expected one of {}", expected.join(", ")))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let variant = bounded(variant, LONGEST_NAME);
        Self::new(format_args!("unknown variant `{variant}`, expected one of {}", expected.join(", ")))
    }
}
