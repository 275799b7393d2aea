//! The flags of the sources, which each source names itself.

use crate::catalog::SOURCES;
use crate::source::Flag;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

/// The flags of all sources, as arguments of a command.
#[derive(Debug, Clone)]
pub(super) struct SourceFlagArgs {
    /// Those that were given: the name with its dashes, and the value.
    pub(super) given: Vec<(&'static str, String)>,
}

fn all() -> impl Iterator<Item = &'static Flag> {
    SOURCES.iter().flat_map(|spec| spec.flags)
}

fn argument(flag: &'static Flag) -> Arg {
    let argument =
        Arg::new(flag.name).long(flag.name.trim_start_matches("--")).value_name(flag.value).help(flag.help);
    if flag.words.is_empty() {
        return argument;
    }
    let words = flag.words.iter().map(|(word, meaning)| PossibleValue::new(*word).help(*meaning));
    argument.value_parser(PossibleValuesParser::new(words))
}

impl Args for SourceFlagArgs {
    fn augment_args(command: Command) -> Command {
        command.args(all().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SourceFlagArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let value = |flag: &'static Flag| Some((flag.name, matches.get_one::<String>(flag.name)?.clone()));
        Ok(Self { given: all().filter_map(value).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
