//! Starting a container.

use std::io;
use std::os::unix::net::UnixStream;

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::launch::Streams;
use crate::monitor;
use crate::protocol::{self, Answer, Kind};
use crate::status::Status;

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// What its starter takes part in, until it ends.
    pub stream: UnixStream,
}

impl Containers {
    /// Starts a container and returns when its command is being executed. One that runs is left
    /// alone, and there is nothing to take part in then.
    ///
    /// # Errors
    /// In docker's words, with docker's exit code.
    pub async fn start(&self, container: &Container, attach: Streams) -> Result<Option<Started>> {
        let mut container = container.clone();
        let lock = {
            let container = container.clone();
            blocking(move || container.change()).await?
        };
        container.again()?;
        match container.state.status {
            status if status.can_start() => {}
            Status::Paused => return Err(Error::StartPaused),
            status if status.is_alive() => return Ok(None),
            _ => return Err(Error::StartRemoved),
        }
        if attach.any() {
            self.tell(&container, "attach", &[]);
        }
        let beside = self.beside(&container).await?;
        let lowers = self.lowers(&container).await?;
        let planned = match self.plan_networks(&container).await {
            Ok(planned) => planned,
            Err(error) => {
                let told = error.to_string();
                blocking(move || container.note_error(&told)).await?;
                return Err(error);
            }
        };
        let stub = self.store.derived_dir("container-stub").await?;
        let places = self.places(&container.record.mounts).await?;
        let root = self.store.root().to_owned();
        blocking(move || {
            let _lock = lock;
            runtime::overlay::prepare_lasting_stub_dir(&stub)?;
            let shown = (&places, planned);
            let launch = container.launch(root, (lowers, stub), shown, (attach, beside))?;
            let failed = |cause: io::Error| Error::Monitor {
                id: container.id.clone(),
                cause,
            };
            let mut stream = monitor::start(&launch).map_err(failed)?;
            match protocol::read(&mut stream).map_err(failed)? {
                Some((Kind::Answer, content)) => match serde_json::from_slice(&content) {
                    Ok(Answer::Failed { message, code }) => {
                        Err(Error::NotStarted { message, code })
                    }
                    Ok(_) => Ok(Some(Started { stream })),
                    Err(error) => Err(failed(error.into())),
                },
                _ => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            }
        })
        .await
    }
}
