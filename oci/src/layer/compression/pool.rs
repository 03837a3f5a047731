//! Work that is shared among threads and comes back in the order in which it was handed out.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// What one thread of a pool does.
pub(crate) trait Worker: Send + 'static {
    /// What is to be done.
    type Job: Send + 'static;
    /// What it comes to.
    type Done: Send + 'static;

    /// Does it.
    fn work(&mut self, job: Self::Job) -> io::Result<Self::Done>;
}

type Order<J, D> = (J, Sender<io::Result<D>>);

/// Threads that work on jobs, of which so many wait at most.
pub(crate) struct Pool<W: Worker> {
    jobs: SyncSender<Order<W::Job, W::Done>>,
    /// In the order of the jobs.
    pending: VecDeque<Receiver<io::Result<W::Done>>>,
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

impl<W: Worker> Pool<W> {
    /// Starts the threads, each with a worker of its own. They end when the pool is dropped.
    pub(crate) fn start(threads: NonZeroUsize, worker: impl Fn() -> W) -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Order<W::Job, W::Done>>(threads.get());
        let todo = Arc::new(Mutex::new(todo));
        for _ in 0..threads.get() {
            let todo = Arc::clone(&todo);
            let mut worker = worker();
            std::thread::Builder::new()
                .name("compress".to_owned())
                .spawn(move || {
                    loop {
                        let next = lock(&todo).recv();
                        let Ok((job, answer)) = next else { return };
                        // Nobody waits for it any more when the compressor failed.
                        let _ = answer.send(worker.work(job));
                    }
                })?;
        }
        Ok(Self {
            jobs,
            pending: VecDeque::new(),
        })
    }

    /// Hands out a job; waits while all threads are busy and enough is waiting.
    pub(crate) fn submit(&mut self, job: W::Job) -> io::Result<()> {
        let (answer, pending) = channel();
        self.jobs.send((job, answer)).map_err(|_| gone())?;
        self.pending.push_back(pending);
        Ok(())
    }

    /// What the oldest job has come to, once more than `left` are pending; else `None`.
    pub(crate) fn next(&mut self, left: usize) -> io::Result<Option<W::Done>> {
        if self.pending.len() <= left {
            return Ok(None);
        }
        match self.pending.pop_front() {
            Some(next) => next.recv().map_err(|_| gone())?.map(Some),
            None => Ok(None),
        }
    }
}
