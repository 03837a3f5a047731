//! How a build shows what it does: plain lines, or live ones on a terminal, or nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::term::lines::{Lines, Tail, plain};
use crate::term::printer::Printer;
use crate::term::safe;
use crate::term::style::Style;
use builder::solve::progress::{Progress, Vertex};

/// Lines of a step's output that stay on the screen while it runs.
const TAIL: usize = 6;

/// `--progress`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Live on a terminal, plain otherwise.
    Auto,
    /// Lines that only ever follow each other.
    Plain,
    /// Live lines, redrawn in place.
    Tty,
    /// Nothing but errors.
    Quiet,
}

/// A build's progress in the given mode.
pub fn new(mode: Mode, printer: &Printer) -> Box<dyn Progress> {
    match mode {
        Mode::Quiet => Box::new(Quiet {
            printer: printer.clone(),
            output: Mutex::default(),
        }),
        Mode::Tty => Box::new(Live::new(printer.clone())),
        Mode::Auto if printer.live() => Box::new(Live::new(printer.clone())),
        Mode::Auto | Mode::Plain => Box::new(Plain::new(printer.clone())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

/// Nothing, but the output of a step that fails.
struct Quiet {
    printer: Printer,
    output: Mutex<HashMap<usize, Vec<u8>>>,
}

impl Progress for Quiet {
    fn started(&self, _: &Vertex) {}
    fn cached(&self, _: &Vertex) {}
    fn missed(&self, _: &Vertex, _: &str) {}
    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        keep(lock(&self.output).entry(vertex.number).or_default(), bytes);
    }
    fn status(&self, _: &Vertex, _: &str) {}
    fn done(&self, vertex: &Vertex) {
        lock(&self.output).remove(&vertex.number);
    }
    fn failed(&self, vertex: &Vertex, _: &str) {
        if let Some(output) = lock(&self.output).remove(&vertex.number) {
            self.printer.write_err(&output);
        }
    }
    fn warning(&self, text: &str) {
        self.printer.warning(text);
    }
}

/// Adds to kept output, and drops the beginning when it grows too long.
fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(bytes);
    if output.len() > 2 * MAX_OUTPUT {
        let cut = output.len() - MAX_OUTPUT;
        output.drain(..cut);
    }
}

/// What is known of a step that runs.
struct Running {
    started: Instant,
    /// Its output.
    lines: Lines,
}

/// `#3 [2/4] RUN make`, `#3 0.123 output`, `#3 DONE 1.2s`.
struct Plain {
    printer: Printer,
    running: Mutex<HashMap<usize, Running>>,
}

impl Plain {
    fn new(printer: Printer) -> Self {
        Self {
            printer,
            running: Mutex::default(),
        }
    }

    fn end(&self, vertex: &Vertex, text: impl FnOnce(Duration) -> String) {
        let running = lock(&self.running).remove(&vertex.number);
        if let Some(running) = running {
            if !running.lines.rest().is_empty() {
                self.line(vertex, running.started, running.lines.rest());
            }
            let text = text(running.started.elapsed());
            self.printer.note(format!("#{} {text}\n", vertex.number));
        }
    }

    fn line(&self, vertex: &Vertex, started: Instant, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        let at = started.elapsed().as_secs_f64();
        self.printer
            .raw_note(format!("#{} {at:.3} {text}", vertex.number));
    }
}

impl Progress for Plain {
    fn started(&self, vertex: &Vertex) {
        let running = Running {
            started: Instant::now(),
            lines: Lines::default(),
        };
        lock(&self.running).insert(vertex.number, running);
        let name = self.printer.foreign(&vertex.to_string());
        self.printer.raw_note(name);
    }

    fn cached(&self, vertex: &Vertex) {
        self.end(vertex, |_| self.printer.paint(Style::Blue, "CACHED"));
    }

    fn missed(&self, vertex: &Vertex, reason: &str) {
        self.printer
            .note(format!("#{} not cached: {reason}", vertex.number));
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        let mut running = lock(&self.running);
        let Some(running) = running.get_mut(&vertex.number) else {
            return;
        };
        let started = running.started;
        running
            .lines
            .feed(bytes, |line| self.line(vertex, started, line));
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        self.printer.note(format!("#{} {text}", vertex.number));
    }

    fn done(&self, vertex: &Vertex) {
        self.end(vertex, |took| format!("DONE {}", seconds(took)));
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        let label = self.printer.paint(Style::Red, "ERROR");
        self.end(vertex, |_| format!("{label}: {error}"));
    }

    fn warning(&self, text: &str) {
        self.printer.warning(text);
    }
}

/// A line a step that is redrawn while it runs, with the last lines of its output below it.
struct Live {
    printer: Printer,
    screen: MultiProgress,
    running: Mutex<HashMap<usize, LiveStep>>,
}

struct LiveStep {
    started: Instant,
    bar: ProgressBar,
    tail: Vec<ProgressBar>,
    shown: Tail,
    /// The end of the output, told when the step fails.
    output: Vec<u8>,
}

/// Output kept for the message of a failure.
const MAX_OUTPUT: usize = 64 << 10;

impl Live {
    fn new(printer: Printer) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12));
        Self {
            printer,
            screen,
            running: Mutex::default(),
        }
    }

    fn end(&self, vertex: &Vertex, style: Style, what: &str) -> Option<LiveStep> {
        let step = lock(&self.running).remove(&vertex.number)?;
        for line in &step.tail {
            line.finish_and_clear();
            self.screen.remove(line);
        }
        step.bar.finish_and_clear();
        self.screen.remove(&step.bar);
        let line = format!(
            " => {what} {}  {}",
            plain(&vertex.name),
            seconds(step.started.elapsed())
        );
        let _ = self.screen.println(self.printer.paint(style, line));
        Some(step)
    }
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Live {
    fn started(&self, vertex: &Vertex) {
        let bar = self.screen.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template(" {spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| plain_style()));
        bar.set_message(plain(&vertex.name));
        bar.enable_steady_tick(Duration::from_millis(120));
        let step = LiveStep {
            started: Instant::now(),
            bar,
            tail: Vec::new(),
            shown: Tail::new(TAIL),
            output: Vec::new(),
        };
        lock(&self.running).insert(vertex.number, step);
    }

    fn cached(&self, vertex: &Vertex) {
        self.end(vertex, Style::Blue, "CACHED");
    }

    fn missed(&self, vertex: &Vertex, reason: &str) {
        self.status(vertex, &format!("not cached: {reason}"));
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        let mut running = lock(&self.running);
        let Some(step) = running.get_mut(&vertex.number) else {
            return;
        };
        keep(&mut step.output, bytes);
        step.shown.feed(bytes);
        let lines = step.shown.shown();
        while step.tail.len() < lines.len() {
            let after = step.tail.last().unwrap_or(&step.bar);
            let line = self.screen.insert_after(after, ProgressBar::new_spinner());
            line.set_style(plain_style());
            step.tail.push(line);
        }
        for (bar, line) in step.tail.iter().zip(lines) {
            bar.set_message(self.printer.paint(Style::Dim, format!("   # {line}")));
        }
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        if let Some(step) = lock(&self.running).get(&vertex.number) {
            let (name, text) = (plain(&vertex.name), plain(text));
            step.bar.set_message(format!("{name}  ({text})"));
        }
    }

    fn done(&self, vertex: &Vertex) {
        self.end(vertex, Style::Blue, "DONE  ");
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        if let Some(step) = self.end(vertex, Style::Red, "ERROR ") {
            let text = String::from_utf8_lossy(&step.output);
            for line in text.lines() {
                let _ = self.screen.println(format!("   {}", plain(line)));
            }
            let _ = self.screen.println(format!("   {}", safe::escape(error)));
        }
    }

    fn warning(&self, text: &str) {
        let text = safe::escape(text);
        let text = format!("{}: {text}", self.printer.paint(Style::Yellow, "WARNING"));
        let _ = self.screen.println(text);
    }
}
