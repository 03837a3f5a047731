//! Commands in the background (`exec -d`): a thread each, so that what hangs in the container never
//! keeps its monitor, and so that somebody tells how they end.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use runtime::{CgroupParent, Entered, Group, Inhabitant, Stdio};

use super::refused::said;
use crate::error::Error;
use crate::events::{Actor, Event, journal};
use crate::launch::Launch;
use crate::protocol::{self, Answer, Background, Kind};

/// Bytes; the thread does little.
const STACK: usize = 128 << 10;

/// Where a command is run, and who hears of it.
struct Place {
    root: PathBuf,
    actor: Actor,
    id: String,
    parent: Option<CgroupParent>,
    inhabitant: Inhabitant,
}

/// Runs it; who asks is answered by the thread.
pub(super) fn run(
    launch: &Launch,
    pid: i32,
    wanted: Background,
    mut asks: UnixStream,
) -> io::Result<()> {
    let gone = || io::Error::other("the container has ended");
    let place = Place {
        root: launch.root.clone(),
        actor: launch.actor.clone(),
        id: launch.id.clone(),
        parent: launch.spec.cgroup_parent().cloned(),
        inhabitant: Inhabitant::of(pid).ok_or_else(gone)?,
    };
    let work = move || {
        let entered = place.enter(&wanted);
        let answer = match &entered {
            Ok(_) => Answer::Done,
            Err(error) => Answer::Failed {
                message: said(error),
                code: Error::code_inside(error),
            },
        };
        let told = |action: &str, more: &[(&str, String)]| {
            let mut all = vec![("execID", wanted.id.clone())];
            all.extend_from_slice(more);
            let event = Event::of_container(&place.actor, action, &all);
            journal::tell(&place.root, &event);
        };
        if entered.is_ok() {
            told(&format!("exec_start: {}", wanted.command), &[]);
        }
        if let Ok(content) = serde_json::to_vec(&answer) {
            // Who has asked may be gone.
            let _ = asks.write_all(&protocol::frame(Kind::Answer, &content));
        }
        drop(asks);
        let Ok(entered) = entered else {
            return;
        };
        if let Some(code) = wait(entered) {
            told("exec_die", &[("exitCode", code.to_string())]);
        }
    };
    let thread = thread::Builder::new().name("exec".to_owned());
    thread.stack_size(STACK).spawn(work).map(drop)
}

impl Place {
    fn enter(&self, wanted: &Background) -> runtime::Result<Entered> {
        let group = Group::named(&self.id, self.parent.as_ref())?;
        runtime::enter(self.inhabitant, &group, &wanted.entry, Stdio::default())
    }
}

/// Its exit code. What it says to its terminal is heard by nobody.
fn wait(mut entered: Entered) -> Option<i32> {
    if let Some(terminal) = entered.terminal() {
        let mut terminal = std::fs::File::from(terminal);
        let mut chunk = [0; 4096];
        while terminal.read(&mut chunk).is_ok_and(|length| length > 0) {}
    }
    entered.wait().ok().map(|status| status.exit_code())
}
