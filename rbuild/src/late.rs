//! Commands whose flags are described only once they are typed. Describing all flags of all
//! commands costs more than a small command does.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand};

/// Flags, or the commands of a group.
#[derive(Debug)]
pub struct Late<T>(Box<T>);

impl<T> Late<T> {
    /// What was typed.
    pub fn typed(self) -> T {
        *self.0
    }
}

/// What a command is described by stays in place of what its flags would say.
fn described(command: Command, more: fn(Command) -> Command) -> Command {
    let about = command.get_about().cloned();
    let long = command.get_long_about().cloned();
    let after = command.get_after_help().cloned();
    let mut command = crate::ways::apply(more(command));
    if let Some(about) = about {
        command = command.about(about).long_about(None::<&str>);
    }
    if let Some(long) = long {
        command = command.long_about(long);
    }
    match after {
        Some(after) => command.after_help(after),
        None => command,
    }
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(|typed| Self(Box::new(typed)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Late<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| described(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: Subcommand> Subcommand for Late<T> {
    fn augment_subcommands(command: Command) -> Command {
        command.defer(|command| described(command, T::augment_subcommands))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        T::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}
