//! A server by which steps wait for each other, or for the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::Machine;

/// Whoever calls says a line, and hears all that was said once enough have called.
#[derive(Debug)]
pub struct Meeting {
    port: u16,
    shared: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Debug)]
struct Said {
    lines: Vec<String>,
    needed: usize,
}

impl Meeting {
    /// Of so many, on this machine's loopback.
    pub fn of(number: usize) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("bind"), number)
    }

    /// Of so many, on every address of a machine.
    pub fn on(machine: &Machine, number: usize) -> Self {
        Self::at(machine.listen(), number)
    }

    /// One that nobody leaves before it is opened.
    pub fn closed() -> Self {
        Self::of(usize::MAX)
    }

    fn at(listener: TcpListener, needed: usize) -> Self {
        let port = listener.local_addr().expect("address").port();
        let lines = Vec::new();
        let shared = Arc::new((Mutex::new(Said { lines, needed }), Condvar::new()));
        let meeting = Self {
            port,
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || attend(stream, &shared));
            }
        });
        meeting
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a step runs to attend, where it meets on loopback.
    pub fn attend(&self, name: &str) -> String {
        format!("echo {name} | nc 127.0.0.1 {} >/dev/null", self.port)
    }

    /// Lets everybody go, from now on.
    pub fn open(&self) {
        self.shared.0.lock().unwrap().needed = 0;
        self.shared.1.notify_all();
    }

    /// How many have called.
    pub fn came(&self) -> usize {
        self.shared.0.lock().unwrap().lines.len()
    }

    /// Waits until so many have called.
    #[track_caller]
    pub fn until(&self, number: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.came() < number {
            assert!(Instant::now() < until, "{} of {number} came", self.came());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn attend(mut stream: TcpStream, shared: &(Mutex<Said>, Condvar)) {
    let mut line = String::new();
    if BufReader::new(&stream).read_line(&mut line).is_err() {
        return;
    }
    let mut said = shared.0.lock().unwrap();
    said.lines.push(line);
    shared.1.notify_all();
    let said = shared
        .1
        .wait_while(said, |said| said.lines.len() < said.needed)
        .unwrap();
    let all = said.lines.concat();
    drop(said);
    let _ = stream.write_all(all.as_bytes());
}
