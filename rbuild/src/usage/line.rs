//! How a command is used, in one line, and how many arguments it takes: docker's words.

use clap::{Arg, ArgAction, Command};

use super::hints::see;

/// The command of a path.
fn find<'c>(program: &'c Command, path: &[&str]) -> Option<&'c Command> {
    let mut command = program;
    for name in path {
        command = command.find_subcommand(name)?;
    }
    Some(command)
}

/// The fewest and the most values of a positional argument.
fn bounds(arg: &Arg) -> (usize, usize) {
    let several = matches!(arg.get_action(), ArgAction::Append);
    let range = arg.get_num_args();
    let least = range.map_or(1, |range| range.min_values()).max(1);
    let most = match (range, several) {
        (Some(range), _) => range.max_values(),
        (None, true) => usize::MAX,
        (None, false) => 1,
    };
    (least, most)
}

/// A positional argument: `IMAGE [COMMAND] [ARG...]`, `CONTAINER [CONTAINER...]`, `[VOLUME]`.
fn shown(arg: &Arg, required: bool) -> String {
    let id = arg.get_id().as_str().to_uppercase();
    let names: Vec<&str> = match arg.get_value_names() {
        Some(names) => names.iter().map(|name| name.as_str()).collect(),
        None => vec![&id],
    };
    let (least, most) = bounds(arg);
    if let ([_, .., last], true) = (names.as_slice(), required) {
        let each = names.iter().enumerate().map(|(at, name)| match at < least {
            true => (*name).to_owned(),
            false => format!("[{name}]"),
        });
        let rest = (*last == "COMMAND").then(|| "[ARG...]".to_owned());
        return each.chain(rest).collect::<Vec<_>>().join(" ");
    }
    let name = names.first().copied().unwrap_or(&id);
    match (required, most > 1) {
        (true, false) => name.to_owned(),
        (true, true) => format!("{name} [{name}...]"),
        (false, false) => format!("[{name}]"),
        (false, true) => format!("[{name}...]"),
    }
}

/// `Usage:  rbuild COMMAND [OPTIONS] …`. With `lacks` the first argument has to be there, whatever
/// its description says: it depends on flags.
fn usage(command: &Command, path: &[&str], lacks: bool) -> String {
    let mut usage = format!("Usage:  rbuild {}", path.join(" "));
    let is_flag = |arg: &&Arg| {
        let is_help = matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong
        );
        !arg.is_positional() && !arg.is_global_set() && !is_help
    };
    if command.get_arguments().any(|arg| is_flag(&arg)) {
        usage.push_str(" [OPTIONS]");
    }
    for (at, arg) in command.get_positionals().enumerate() {
        let required = arg.is_required_set() || (lacks && at == 0);
        usage.push(' ');
        usage.push_str(&shown(arg, required));
    }
    usage
}

/// What stands below a flag that is none: how the command is used, and where to read on.
pub(super) fn after(program: &Command, path: &[&str]) -> String {
    let see = see(path);
    match find(program, path).filter(|command| !command.has_subcommands()) {
        Some(command) => format!("{}\n\n{see}", usage(command, path, false)),
        None => see,
    }
}

/// How many arguments a command takes; nothing where that depends on flags. `lacks`: one that has
/// to be there is not.
pub(super) fn wrong_number(program: &Command, path: &[&str], lacks: bool) -> Option<String> {
    let command = find(program, path)?;
    let (mut least, mut most) = (0, 0_usize);
    for (at, arg) in command.get_positionals().enumerate() {
        let (from, to) = bounds(arg);
        let required = arg.is_required_set() || (lacks && at == 0);
        least += if required { from } else { 0 };
        most = most.saturating_add(to);
    }
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let wanted = match (least, most) {
        (0, 0) => "accepts no arguments".to_owned(),
        (0, usize::MAX) => return None,
        (least, usize::MAX) => format!("requires at least {least} argument{}", plural(least)),
        (0, most) => format!("requires at most {most} argument{}", plural(most)),
        (least, most) if least == most => format!("requires {least} argument{}", plural(least)),
        (least, most) => format!(
            "requires at least {least} and at most {most} argument{}",
            plural(most)
        ),
    };
    let name = path.join(" ");
    let usage = usage(command, path, lacks);
    let see = see(path);
    Some(format!("'rbuild {name}' {wanted}\n\n{usage}\n\n{see}"))
}
