//! From the text of a YAML 1.2 document to a tree (pure). JSON is YAML, too.
//!
//! The events are granit-parser's, which serde-saphyr is made of. serde-saphyr itself derives every settings struct over
//! several deserializers of its own and interprets a scalar before anybody can ask for its text; deriving over one tree
//! is what keeps the program small.

use super::tree::{Error, Node, Position, Step, Style, Value};
use super::values::LONGEST_TEXT;
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// What one document may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes, those behind an alias counted at every use.
    pub nodes: u64,
    /// Bytes of all texts, those behind an alias counted at every use.
    pub bytes: u64,
    /// Bytes of one text.
    pub text: usize,
    /// Items that are kept of the document, where it is a list, and of each list `targets` in its items; the rest is counted.
    pub items: usize,
    /// Levels of lists and sections.
    pub depth: u32,
    /// Whether it is JSON: what stands without quotes is no text.
    pub json: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let bytes = 16 * 1024 * 1024;
        Self { nodes: 1_000_000, bytes, text: LONGEST_TEXT, items: usize::MAX, depth: 100, json: false }
    }
}

/// The one document of a text as the settings `T`, `None` where there is nothing in it.
pub fn document<T: for<'de> Deserialize<'de>>(text: &str, limits: Limits) -> Result<Option<T>, Error> {
    match parse(text, limits)? {
        Some(node) if !node.is_null() => T::deserialize(&*node).map(Some),
        _ => Ok(None),
    }
}

/// The one document of a text as `T`; nothing in it is `null`.
pub fn from_str<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Error> {
    match parse(text, Limits::default())? {
        Some(node) => T::deserialize(&*node),
        None => T::deserialize(&Node::scalar(String::new(), Style::Plain, (1, 1))),
    }
}

/// The one document of a text as a tree, `None` where there is none; what is derived from a part of it is
/// [`Deserialize`] of the part.
pub fn parse(text: &str, limits: Limits) -> Result<Option<Rc<Node>>, Error> {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { limits, open: Vec::new(), anchors: BTreeMap::new(), root: None };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| unreadable(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

fn unreadable(error: &ScanError) -> Error {
    let mark = error.marker();
    Error::new(error.info().replace('\n', " ")).at(position(mark.line(), mark.col()))
}

fn position(line: usize, column: usize) -> Position {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (narrow(line), narrow(column).saturating_add(1))
}

struct Builder {
    limits: Limits,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

/// A list or a section of which the end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    is_map: bool,
    nodes: Vec<Rc<Node>>,
    size: u64,
    bytes: u64,
    depth: u32,
    more: u32,
    keys: HashSet<String>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Error> {
        let at = position(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if text.len() > self.limits.text {
                    let message =
                        format!("has {} bytes; a text takes {} at most", text.len(), self.limits.text);
                    return Err(Error::new(message).at(at));
                }
                let is_text = tag.is_some_and(|tag| tag.core_suffix().is_none_or(|kind| kind == "str"));
                let style = match style {
                    ScalarStyle::Plain if self.limits.json => Style::Literal,
                    ScalarStyle::Plain if !is_text => Style::Plain,
                    _ => Style::Quoted,
                };
                self.add(Rc::new(Node::scalar(text.into_owned(), style, at)), anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(at, anchor, false),
            Event::MappingStart(_, anchor, _) => self.begin(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.add(Rc::clone(node), 0),
                None => Err(Error::new("an alias stands within what it names").at(at)),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Error::new("has more than one document").at(at))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, is_map: bool) -> Result<(), Error> {
        if self.open.len() >= self.limits.depth as usize {
            return Err(self.too_deep(at));
        }
        self.open.push(Open {
            at,
            anchor,
            is_map,
            nodes: Vec::new(),
            size: 1,
            bytes: 0,
            depth: 1,
            more: 0,
            keys: HashSet::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let Open { at, anchor, is_map, nodes, size, bytes, depth, more, mut keys } = open;
        let value = if is_map {
            Value::Map(merged(nodes, &mut keys)?)
        } else {
            Value::List { items: nodes.into(), more }
        };
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (size, bytes) = (narrow(size), narrow(bytes));
        self.add(Rc::new(Node { value, at, size, bytes, depth }), anchor)
    }

    /// Puts a whole node where it belongs.
    fn add(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), Error> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Limits { nodes: most, bytes: most_bytes, depth: deepest, .. } = self.limits;
        let level = self.open.len();
        let counted = self.is_counted();
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let key = open.is_map && open.nodes.len().is_multiple_of(2);
        if counted && open.nodes.len() >= self.limits.items {
            open.more = open.more.saturating_add(1);
            return Ok(());
        }
        open.size = open.size.saturating_add(node.size.into());
        open.depth = open.depth.max(node.depth.saturating_add(1));
        open.bytes = open.bytes.saturating_add(node.bytes.into());
        let (size, bytes, depth) = (open.size, open.bytes, open.depth);
        if key {
            let Some(text) = node.text() else {
                return Err(self.fail("a key is a text, not a list or a section", node.at));
            };
            if !open.keys.insert(text.to_owned()) && text != "<<" {
                let step = Step::key(text);
                let error = Error::new("is repeated").at(node.at).within(step);
                return Err(self.locate(error));
            }
        }
        let at = node.at;
        open.nodes.push(node);
        if size > most {
            return Err(self.fail(&format!("holds more than {most} values, aliases followed"), at));
        }
        if bytes > most_bytes {
            return Err(self.fail(&format!("holds more than {most_bytes} bytes, aliases followed"), at));
        }
        if u32::try_from(level).unwrap_or(u32::MAX).saturating_add(depth) > deepest.saturating_add(1) {
            return Err(self.too_deep(at));
        }
        Ok(())
    }

    /// Whether what is being added is an item of a list of which only some are kept.
    fn is_counted(&self) -> bool {
        match self.open.as_slice() {
            [list] => !list.is_map,
            [_, section, list] => {
                !list.is_map && section.nodes.last().and_then(|key| key.text()) == Some("targets")
            }
            _ => false,
        }
    }

    fn too_deep(&self, at: Position) -> Error {
        self.fail(&format!("has more than {} levels", self.limits.depth), at)
    }

    fn fail(&self, message: &str, at: Position) -> Error {
        self.locate(Error::new(message).at(at))
    }

    /// The error with the keys that lead to it.
    fn locate(&self, mut error: Error) -> Error {
        for (index, open) in self.open.iter().enumerate().rev() {
            let innermost = index + 1 == self.open.len();
            if open.is_map {
                // The innermost section stands at the key itself, which the error names where it matters.
                let last = open.nodes.len().checked_sub(1).and_then(|last| open.nodes.get(last - last % 2));
                if let (false, Some(key)) = (innermost, last.and_then(|key| key.text())) {
                    error = error.within(Step::key(key));
                }
            } else if !innermost {
                error = error.within(Step::Index(open.nodes.len()));
            }
        }
        error
    }
}

type Entries = Vec<(Rc<Node>, Rc<Node>)>;

/// The entries of a section, those of its merge keys (`<<: *defaults`) after its own where it has none of that name; `keys`
/// are the names of its own.
fn merged(nodes: Vec<Rc<Node>>, keys: &mut HashSet<String>) -> Result<Entries, Error> {
    let mut entries: Entries = Vec::with_capacity(nodes.len() / 2);
    let mut merges = Vec::new();
    let mut nodes = nodes.into_iter();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        match &key.value {
            Value::Scalar { text, style: Style::Plain } if &**text == "<<" => merges.push(value),
            _ => entries.push((key, value)),
        }
    }
    for merge in merges {
        match &merge.value {
            Value::Map(more) => add_missing(&mut entries, keys, more),
            Value::List { items: sections, .. } => {
                for section in sections {
                    let Value::Map(more) = &section.value else { return Err(no_section(section)) };
                    add_missing(&mut entries, keys, more);
                }
            }
            Value::Scalar { .. } if merge.is_null() => {}
            Value::Scalar { .. } => return Err(no_section(&merge)),
        }
    }
    Ok(entries)
}

fn no_section(node: &Node) -> Error {
    Error::new("`<<` takes a section with keys, or a list of them").at(node.at)
}

fn add_missing(entries: &mut Entries, keys: &mut HashSet<String>, more: &Entries) {
    for (key, value) in more {
        if keys.insert(key.text().unwrap_or_default().to_owned()) {
            entries.push((Rc::clone(key), Rc::clone(value)));
        }
    }
}
