//! The re-executed, single-threaded process that becomes the container's.

mod apply;
mod exec;
mod failure;
mod reaper;
#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::guard;
use crate::plan::Plan;
use crate::sys::{self, Linux, Syscall};

pub(crate) use failure::Failure;

/// `argv[0]` of the init.
pub(crate) const ARG0: &CStr = c"container-init";
/// The plan is read from this descriptor.
const PLAN_FD: i32 = 3;
/// Failures are reported on this one; a successful exec closes it.
const ERROR_FD: i32 = 4;
/// The first descriptor handed over for the plan.
const FIRST_SLOT: i32 = 5;
/// Largest plan that is accepted, in bytes.
const MAX_PLAN: u64 = 64 << 20;

/// Call this first in `main` of every program that starts containers.
///
/// A program runs itself again as the container's init; in that process this function sets the
/// container up, becomes the user's command and never returns. In every other it does nothing.
pub fn init_hook() {
    let Some(arg0) = std::env::args_os().next() else {
        return;
    };
    let code = if arg0.as_bytes() == ARG0.to_bytes() {
        become_container()
    } else if arg0.as_bytes() == guard::ARG0.to_bytes() {
        guard::run()
    } else {
        return;
    };
    std::process::exit(code);
}

fn become_container() -> i32 {
    let (Some(plan), mut errors @ Some(_)) = (sys::inherited(PLAN_FD), sys::inherited(ERROR_FD))
    else {
        return 125;
    };
    let failure = match read_plan(plan) {
        // The parent has gone before it said what to do.
        Ok(None) => return 125,
        Ok(Some((plan, slots))) => {
            let run = sys::close_from(3)
                .map_err(|error| Failure::step("close descriptors", &error))
                .and_then(|()| run(&Linux, &plan, slots, &mut errors));
            match run {
                Ok(code) => return code,
                Err(failure) => failure,
            }
        }
        Err(error) => Failure::step("read the plan", &error),
    };
    if let (Ok(bytes), Some(errors)) = (serde_json::to_vec(&failure), errors) {
        let _ = File::from(errors).write_all(&bytes);
    }
    125
}

/// The plan and the descriptors that came with it.
fn read_plan(fd: OwnedFd) -> io::Result<Option<(Plan, Vec<OwnedFd>)>> {
    let mut bytes = Vec::new();
    File::from(fd).take(MAX_PLAN).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let plan = serde_json::from_slice(&bytes)?;
    let slots = (FIRST_SLOT..).map_while(sys::inherited).collect();
    Ok(Some((plan, slots)))
}

/// Applies the plan and executes the command, or has it run and returns its exit code.
fn run(
    sys: &dyn Syscall,
    plan: &Plan,
    slots: Vec<OwnedFd>,
    errors: &mut Option<OwnedFd>,
) -> Result<i32, Failure> {
    apply::apply(sys, &plan.ops, slots)?;
    let path = exec::find(sys, &plan.argv, &plan.env)?;
    let error = match plan.reaper {
        // Closing the descriptor says that the command is being executed.
        true => match reaper::run(&path, &plan.argv, &plan.env, || drop(errors.take())) {
            Ok(code) => return Ok(code),
            Err(error) => error,
        },
        false => sys.exec(&path, &plan.argv, &plan.env),
    };
    Err(exec::refused(&path, &error))
}
