//! What a container has said.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use super::container::Container;
use super::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::log::entry::Entry;
use crate::log::reader::{Reader, Wanted, Watch};
use crate::protocol::{self, Kind, Request, Until};

impl Containers {
    /// Tells the lines of a container's log, and with `follow` those that come, until it does not
    /// run any more.
    ///
    /// # Errors
    /// Those of the file system, and of `each`.
    pub async fn logs(
        &self,
        container: &Container,
        wanted: Wanted,
        follow: bool,
        mut each: impl FnMut(Entry) -> io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let container = container.clone();
        if container.record.host.log_config.kind == "none" {
            return Err(Error::Invalid(
                "configured logging driver does not support reading".to_owned(),
            ));
        }
        blocking(move || container.read_logs(wanted, follow, &mut each)).await
    }
}

impl Container {
    fn read_logs(
        &self,
        wanted: Wanted,
        follow: bool,
        each: &mut dyn FnMut(Entry) -> io::Result<()>,
    ) -> Result<()> {
        let path = self.folder.log(&self.id);
        let failed = || Error::io("read", &path);
        // What comes between reading and watching would be missed otherwise.
        let watch = match follow {
            true => Some(Watch::new(self.folder.path()).map_err(failed())?),
            false => None,
        };
        let mut reader = Reader::open(path.clone(), wanted, each).map_err(failed())?;
        let Some(watch) = watch else {
            return Ok(());
        };
        let mut end = self.end();
        loop {
            if reader.more(each).map_err(failed())? {
                return Ok(());
            }
            let Some(monitor) = &mut end else {
                // What was written before the end is there now.
                reader.more(each).map_err(failed())?;
                return Ok(());
            };
            let mut fds = [
                PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN),
                PollFd::new(monitor, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.map_err(|errno| failed()(errno.into()))?,
            };
            let [written, ended] = fds.map(|fd| !fd.revents().is_empty());
            if written {
                watch.take().map_err(failed())?;
            }
            if ended {
                end = None;
            }
        }
    }

    /// Readable when it has ended; nothing when it has already.
    fn end(&self) -> Option<UnixStream> {
        use std::io::Write as _;
        if !self.state.status.is_alive() {
            return None;
        }
        let mut stream = self.connect().ok()?;
        let request = protocol::json(Kind::Request, &Request::Wait(Until::Stopped)).ok()?;
        stream.write_all(&request).ok()?;
        Some(stream)
    }
}
