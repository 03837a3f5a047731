//! docker's ways with flags: the last of several counts, what follows a flag is its value whatever
//! it begins with, and switches may be told a value.

use std::cell::Cell;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

thread_local! {
    /// Whether a switch is told a value: what is described later has to know it as well.
    static VALUED: Cell<bool> = const { Cell::new(false) };
}

/// Notes whether this command line, which is parsed next, has a switch with a value.
pub fn note(raw: &[OsString]) {
    let is_valued = raw.iter().any(|word| {
        let text = word.to_string_lossy();
        text.starts_with('-') && text.contains('=')
    });
    VALUED.set(is_valued);
}

/// A command, and all below it that are described, with these ways. Switches have values only where
/// one is told: help is shorter without.
pub fn apply(command: Command) -> Command {
    let is_valued = VALUED.get();
    let flag = |arg: Arg| {
        let takes = arg.get_action().takes_values() && !arg.is_positional();
        if takes && !arg.is_require_equals_set() {
            return arg.allow_hyphen_values(true);
        }
        match is_valued && matches!(arg.get_action(), ArgAction::SetTrue) {
            true => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .value_name("BOOL")
                .value_parser(crate::flags::boolean),
            false => arg,
        }
    };
    command
        .args_override_self(true)
        .mut_args(flag)
        .mut_subcommands(apply)
}
