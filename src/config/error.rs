//! Bad input, said in one line with its position.

use std::path::PathBuf;

/// Bad input, with its position. `Display` is one readable line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// Path of the configuration file.
        path: PathBuf,
        /// What opening or reading it gave.
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {key}: {message}", path.display())]
    File {
        /// Path of the configuration file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key, with the keys it is under.
        key: String,
        /// What is wrong with it, and what is taken instead.
        message: String,
    },
    /// An environment variable is wrong.
    #[error("{name}={value}: {message}")]
    Variable {
        /// Name of the variable.
        name: String,
        /// Its value; a secret is not shown.
        value: String,
        /// What is wrong with it, and what is taken instead.
        message: String,
    },
    /// A flag is wrong.
    #[error("{flag} {value}: {message}")]
    Flag {
        /// Name of the flag, with its dashes.
        flag: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it, and what is taken instead.
        message: String,
    },
    /// Values that are fine each do not go together.
    #[error("{key}: {message}")]
    Together {
        /// The key, or the section of the keys, that is to be changed.
        key: &'static str,
        /// What is wrong with it, and what is taken instead.
        message: String,
    },
}
