//! What clients ask of a monitor.

use std::io;

use runtime::Group;

use super::client::{Client, Incoming, Purpose};
use super::refused::Refused;
use super::run::Run;
use super::serve::{Monitor, SIGKILL, trouble};
use super::{background, happenings};
use crate::launch::Launch;
use crate::protocol::{Answer, Background, Request};
use crate::status::Status;

const SIGCONT: i32 = 18;

impl Monitor {
    /// Does what a client wants.
    pub(super) fn heed(&mut self, index: usize, incoming: Incoming) {
        let speaks = self.clients.get(index).is_some_and(Client::speaks);
        let request = match incoming {
            Incoming::Stdin(bytes) if speaks => {
                self.input.extend(bytes);
                return self.write_input();
            }
            Incoming::StdinEnd if speaks => {
                self.input_ends |= self.launch.stdin_once;
                return self.write_input();
            }
            Incoming::Stdin(_) | Incoming::StdinEnd => return,
            Incoming::Request(request) => request,
        };
        let answer = match request {
            Request::Launch(_) => Err("the container runs already".to_owned()),
            Request::Attach(streams) => {
                self.turn_to(index, Purpose::Attached(streams));
                Ok(())
            }
            Request::Wait(until) => {
                self.turn_to(index, Purpose::Waits(until));
                return;
            }
            Request::Signal { number, for_good } => self.signal(number, for_good),
            Request::Resize(size) => match &self.run {
                Some(run) => run.resize(size).map_err(|error| error.to_string()),
                None => Ok(()),
            },
            Request::Pause => self.freeze(true),
            Request::Unpause => self.freeze(false),
            Request::Restart(policy) => {
                self.launch.restart = policy;
                Ok(())
            }
            Request::Rename(name) => self.change_network(|run, launch| run.rename(launch, &name)),
            Request::Connect(plan) => {
                let actor = happenings::network(&self.launch, &plan);
                let done = self.change_network(|run, launch| run.connect(launch, *plan));
                happenings::tell_if(&done, &self.launch, actor, "connect");
                done
            }
            Request::Disconnect(id) => {
                let actor = happenings::network_of(&self.launch, &id);
                let done = self.change_network(|run, launch| run.leave(launch, &id));
                happenings::tell_if(&done, &self.launch, actor, "disconnect");
                done
            }
            Request::Exec(wanted) => match self.exec(index, *wanted) {
                Ok(()) => return,
                Err(error) => Err(error.to_string()),
            },
            Request::Linked { container, address } => {
                if let Err(error) = Run::relink(&mut self.launch, &container, address) {
                    trouble("change /etc/hosts", &error);
                }
                return;
            }
            Request::Unlink { container, alias } => {
                let done = Run::unlink(&mut self.launch, &container, &alias);
                done.map_err(|error| error.to_string())
            }
        };
        let answer = match answer {
            Ok(()) => Answer::Done,
            Err(message) => Answer::Failed { message, code: 1 },
        };
        if let Some(client) = self.clients.get_mut(index) {
            client.answer(&answer);
        }
    }

    /// Runs a command in the background; whoever asks for it is answered by its thread.
    fn exec(&mut self, index: usize, wanted: Background) -> io::Result<()> {
        let pid = self.run.as_ref().map_or(0, Run::pid);
        match self.clients.get_mut(index) {
            Some(client) => background::run(&self.launch, pid, wanted, client.hand_over()?),
            None => Ok(()),
        }
    }

    fn turn_to(&mut self, index: usize, purpose: Purpose) {
        if let Some(client) = self.clients.get_mut(index) {
            client.purpose = purpose;
        }
    }

    fn signal(&mut self, number: i32, for_good: bool) -> Result<(), String> {
        if for_good {
            self.state.stopped_by_hand = true;
            self.save(false);
            if self.restart_at.take().is_some() {
                // Nothing runs that could be told: that was the end.
                self.state.status = Status::Exited;
                self.end();
                return Ok(());
            }
        }
        let Some(run) = &self.run else {
            return Ok(());
        };
        self.event("kill", &[("signal", number.to_string())]);
        run.signal(number).map_err(|error| error.to_string())?;
        // What stands still hears nothing.
        if self.state.status == Status::Paused && (number == SIGKILL || number == SIGCONT) {
            return self.freeze(false);
        }
        Ok(())
    }

    fn change_network(
        &mut self,
        change: impl FnOnce(&mut Run, &mut Launch) -> Result<(), Refused>,
    ) -> Result<(), String> {
        let Some(run) = &mut self.run else {
            return Err("the container is not running".to_owned());
        };
        let changed = change(run, &mut self.launch);
        if let Some(network) = &run.network {
            self.state.places = network.told_places();
            self.state.ports = network.ports();
        }
        self.save(false);
        changed.map_err(|refused| refused.message)
    }

    pub(super) fn freeze(&mut self, frozen: bool) -> Result<(), String> {
        let (from, to) = match frozen {
            true => (Status::Running, Status::Paused),
            false => (Status::Paused, Status::Running),
        };
        if self.state.status != from {
            return Err(format!("it is {}", self.state.status));
        }
        let parent = self.launch.spec.cgroup_parent();
        let done = Group::named(&self.launch.id, parent).and_then(|group| match frozen {
            true => group.freeze(),
            false => group.thaw(),
        });
        done.map_err(|error| error.to_string())?;
        self.state.status = to;
        match frozen {
            true => self.unwatch(),
            false => self.watch(),
        }
        self.save(false);
        self.event(if frozen { "pause" } else { "unpause" }, &[]);
        Ok(())
    }
}
