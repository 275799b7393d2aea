//! Configuration files of other tools, read and printed as ours: `connscope config import TOOL FILE`.
//!
//! Each tool has a file of its own beside this one, which reads the tool's keys and fills a [`ConfigDraft`]; what had to be
//! interpreted, and what has no counterpart, stands in it as a comment above the key it is about.

use crate::config::{Address, ConfigError, Listen, Protocol, load};
use crate::metric::naming::Profile;
use serde::Serialize;
use serde_saphyr::FlowSeq;
use std::path::Path;

pub mod connection_status;
pub mod coroot_node_agent;
pub mod ss_exporter;

/// A tool whose configuration can be read.
#[derive(Debug)]
pub struct Tool {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Whose configuration that is, in a few words.
    pub about: &'static str,
    /// What it is configured by, and how that becomes ours.
    pub input: Input,
}

/// What a tool is configured by.
#[derive(Debug)]
pub enum Input {
    /// The text of its file. The path is for the error.
    File(fn(&str, &Path) -> Result<ConfigDraft, ConfigError>),
    /// The words of its command line, without its own name.
    Flags(fn(&[String]) -> Result<ConfigDraft, ConfigError>),
}

/// Every tool there is. Adding one is adding its file and a line here.
pub const TOOLS: &[Tool] = &[ss_exporter::TOOL, connection_status::TOOL, coroot_node_agent::TOOL];

impl Tool {
    /// Reads the file of this tool, or the words of its command line; what is printed for it. The error says which of both the
    /// tool has.
    pub fn read(&self, path: Option<&Path>, flags: &[String]) -> Result<String, ConfigError> {
        let wrong = |message: String| ConfigError::Together { key: "config import", message };
        let draft = match (&self.input, path) {
            (Input::File(import), Some(path)) if flags.is_empty() => import(&load::read(path)?, path)?,
            (Input::Flags(import), None) => import(flags)?,
            (Input::File(_), _) => {
                return Err(wrong(format!("{0} has a file: connscope config import {0} FILE", self.name)));
            }
            (Input::Flags(_), _) => {
                let name = self.name;
                return Err(wrong(format!("{name} has flags: connscope config import {name} -- FLAGS")));
            }
        };
        Ok(draft.text)
    }
}

/// Columns of a comment.
const WIDTH: usize = 100;

/// A configuration of ours while it is written: keys in the order they are put, comments above them.
#[derive(Debug, Default)]
pub struct ConfigDraft {
    text: String,
    /// The sections that the last key is in.
    open: Vec<String>,
    /// Comments for the key that is put next.
    notes: Vec<String>,
}

impl ConfigDraft {
    /// What every exporter with classic names becomes: it is pulled at its own port, and does not push.
    fn pulled_at(port: u16) -> Self {
        let mut draft = Self::default();
        draft.note(
            "The port is a flag of the exporter and not in its file; this is where it listens without the flag.",
        );
        draft
            .put("export.prometheus.listen", &Listen::from(Address::At { host: "0.0.0.0".to_owned(), port }));
        draft.put("export.prometheus.naming", &Profile::Classic);
        draft.note("The exporter does not push. Without this line connscope does, to http://localhost:4317.");
        draft.put("export.otlp.protocol", &Protocol::None);
        draft
    }

    /// A comment above the key that is put next.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A key with a single value. `key` is the whole way to it: `sources.sockets.classic.flow`. Keys of one section are
    /// put one after the other.
    pub fn put(&mut self, key: &str, value: &impl Serialize) {
        self.write(key, &serde_saphyr::to_string(value));
    }

    /// A key with a list.
    pub fn put_list(&mut self, key: &str, list: &[impl Serialize]) {
        self.write(key, &serde_saphyr::to_string(&FlowSeq(list)));
    }

    /// A key with a list of sections, each on a line of its own under the comments about it. Those that are left out have
    /// comments only.
    pub fn put_sections(&mut self, key: &str, list: &[(Vec<String>, Option<serde_json::Value>)]) {
        if list.iter().all(|(_, section)| section.is_none()) {
            self.notes.extend(list.iter().flat_map(|(notes, _)| notes.clone()));
            return self.put_list(key, &[] as &[u8]);
        }
        self.write(key, &Ok(String::new()));
        let depth = self.open.len();
        for (notes, section) in list {
            for note in notes {
                self.comment(depth, note);
            }
            if let Some(section) = section {
                // JSON is YAML, and on one line.
                self.line(depth, &format!("- {section}"));
            }
        }
    }

    fn write(&mut self, key: &str, value: &Result<String, serde_saphyr::ser::Error>) {
        let mut sections: Vec<String> = key.split('.').map(str::to_owned).collect();
        let name = sections.pop().unwrap_or_default();
        let common = sections.iter().zip(&self.open).take_while(|(one, other)| one == other).count();
        for (depth, section) in sections.iter().enumerate().skip(common) {
            self.line(depth, &format!("{section}:"));
        }
        for note in std::mem::take(&mut self.notes) {
            self.comment(sections.len(), &note);
        }
        let line = match value {
            Ok(value) => format!("{name}: {}", value.trim_end()).trim_end().to_owned(),
            Err(error) => format!("# {name} cannot be printed: {error}"),
        };
        self.line(sections.len(), &line);
        self.open = sections;
    }

    fn comment(&mut self, depth: usize, note: &str) {
        let mut line = "#".to_owned();
        for word in note.split_ascii_whitespace() {
            if 2 * depth + line.len() + 1 + word.len() > WIDTH {
                self.line(depth, &line);
                line.truncate(1);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(depth, &line);
    }

    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(line);
        self.text.push('\n');
    }
}
