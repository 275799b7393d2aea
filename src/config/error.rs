//! Bad input, said in one line with its place.

use std::path::PathBuf;

/// Bad input, with its place. `Display` is one readable line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {key}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key, with the keys it is under.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// An environment variable is wrong.
    #[error("{name}={value}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// Its value; a secret is not shown.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// A flag is wrong.
    #[error("{flag} {value}: {message}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// Values that are fine each do not go together.
    #[error("{key}: {message}")]
    Together {
        /// The keys.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}
