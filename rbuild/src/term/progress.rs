//! How a build shows what it does: plain lines, or live ones on a terminal, or nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::term::fit::{columns, cut, plain};
use crate::term::lines::{Lines, Tail};
use crate::term::log::Logs;
use crate::term::printer::Printer;
use crate::term::rawjson::RawJson;
use crate::term::safe;
use crate::term::style::Style;
use builder::solve::progress::{Progress, Vertex};
use builder::solve::reason::Reason;

/// Lines of a step's output that stay on the screen while it runs.
const TAIL: usize = 6;
/// Lines of a failed step's output that are told again where all of it has been shown.
const LAST_LINES: usize = 10;

/// `--progress`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Live on a terminal, plain otherwise.
    #[value(alias = "")]
    Auto,
    /// Lines that only ever follow each other.
    Plain,
    /// Live lines, redrawn in place.
    Tty,
    /// Nothing but errors, and the image ID at the end.
    Quiet,
    /// Nothing but errors.
    None,
    /// JSON lines for programs, as BuildKit writes them.
    Rawjson,
}

/// A build's progress, with what its steps write.
pub struct Shown {
    how: Box<dyn Progress>,
    logs: Logs,
    /// Lines of a failed step's output that are told at the end.
    last_lines: usize,
}

impl Shown {
    /// In the given mode.
    pub fn new(mode: Mode, printer: &Printer) -> Self {
        let live = match mode {
            Mode::Tty => true,
            Mode::Auto => printer.live(),
            Mode::Plain | Mode::Quiet | Mode::None | Mode::Rawjson => false,
        };
        let (how, last_lines): (Box<dyn Progress>, _) = match mode {
            // All there is: nobody has seen the rest.
            Mode::Quiet | Mode::None => (Box::new(Quiet(printer.clone())), usize::MAX),
            Mode::Rawjson => (Box::new(RawJson::new(printer.clone())), usize::MAX),
            _ if live => (Box::new(Live::new(printer.clone())), usize::MAX),
            _ => (Box::new(Plain::new(printer.clone())), LAST_LINES),
        };
        Self {
            how,
            logs: Logs::default(),
            last_lines,
        }
    }

    /// What the step wrote last that failed.
    pub fn last_lines(&self) -> Vec<String> {
        self.logs.last_lines(self.last_lines)
    }
}

impl Progress for Shown {
    fn started(&self, vertex: &Vertex) {
        self.how.started(vertex);
    }
    fn cached(&self, vertex: &Vertex) {
        self.how.cached(vertex);
    }
    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        // At a first build that goes without saying.
        if *reason != Reason::New {
            self.how.missed(vertex, reason);
        }
    }
    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        self.logs.add(vertex.number, bytes);
        self.how.output(vertex, bytes);
    }
    fn status(&self, vertex: &Vertex, text: &str) {
        self.how.status(vertex, text);
    }
    fn done(&self, vertex: &Vertex) {
        self.logs.forget(vertex.number);
        self.how.done(vertex);
    }
    fn failed(&self, vertex: &Vertex, error: &str) {
        self.logs.failed(vertex.number);
        self.how.failed(vertex, error);
    }
    fn canceled(&self, vertex: &Vertex) {
        self.logs.forget(vertex.number);
        self.how.canceled(vertex);
    }
    fn planned(&self, steps: usize) {
        self.how.planned(steps);
    }
    fn finished(&self) {
        self.how.finished();
    }
    fn warning(&self, text: &str) {
        self.how.warning(text);
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

/// Nothing but warnings.
struct Quiet(Printer);

impl Progress for Quiet {
    fn started(&self, _: &Vertex) {}
    fn cached(&self, _: &Vertex) {}
    fn missed(&self, _: &Vertex, _: &Reason) {}
    fn output(&self, _: &Vertex, _: &[u8]) {}
    fn status(&self, _: &Vertex, _: &str) {}
    fn done(&self, _: &Vertex) {}
    fn failed(&self, _: &Vertex, _: &str) {}
    fn canceled(&self, _: &Vertex) {}
    fn warning(&self, text: &str) {
        self.0.warning(text);
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

    fn missed(&self, vertex: &Vertex, reason: &Reason) {
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

    fn canceled(&self, vertex: &Vertex) {
        self.end(vertex, |_| self.printer.paint(Style::Yellow, "CANCELED"));
    }

    fn warning(&self, text: &str) {
        self.printer.warning(text);
    }
}

/// A line a step that is redrawn while it runs, with the last lines of its output below it, and
/// above them all how far the build is.
struct Live {
    printer: Printer,
    screen: MultiProgress,
    header: ProgressBar,
    begun: Instant,
    steps: Mutex<Steps>,
    running: Mutex<HashMap<usize, LiveStep>>,
}

/// How many steps there are.
#[derive(Clone, Copy, Default)]
struct Steps {
    started: usize,
    ended: usize,
    planned: usize,
}

impl Steps {
    fn shown(self) -> String {
        format!("({}/{})", self.ended, self.planned.max(self.started))
    }
}

struct LiveStep {
    started: Instant,
    bar: ProgressBar,
    tail: Vec<ProgressBar>,
    shown: Tail,
    /// Why it was not in the cache.
    missed: Option<String>,
}

/// Columns for what stands around a step's name: an arrow, a word, a time.
const AROUND: usize = 24;

impl Live {
    fn new(printer: Printer) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12));
        let header = screen.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("[+] Building {taken} {msg}");
        let style = style.unwrap_or_else(|_| plain_style());
        header.set_style(style.with_key(
            "taken",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&seconds(state.elapsed()));
            },
        ));
        Self {
            printer,
            screen,
            header,
            begun: Instant::now(),
            steps: Mutex::default(),
            running: Mutex::default(),
        }
    }

    fn count(&self, change: impl FnOnce(&mut Steps)) -> Steps {
        let mut steps = lock(&self.steps);
        change(&mut steps);
        self.header.set_message(steps.shown());
        *steps
    }

    fn end(&self, vertex: &Vertex, style: Style, what: &str) -> Option<LiveStep> {
        let step = lock(&self.running).remove(&vertex.number)?;
        for line in &step.tail {
            line.finish_and_clear();
            self.screen.remove(line);
        }
        step.bar.finish_and_clear();
        self.screen.remove(&step.bar);
        self.count(|steps| steps.ended += 1);
        let name = cut(&plain(&vertex.name), columns().saturating_sub(AROUND));
        let line = format!(" => {what} {name}  {}", seconds(step.started.elapsed()));
        let _ = self.screen.println(self.printer.paint(style, line));
        if let Some(reason) = &step.missed {
            let reason = cut(&format!(" => => not cached: {reason}"), columns());
            let _ = self.screen.println(self.printer.paint(Style::Dim, reason));
        }
        Some(step)
    }
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Live {
    fn started(&self, vertex: &Vertex) {
        let counted = self.count(|steps| steps.started += 1);
        if counted.started == 1 {
            self.header.enable_steady_tick(Duration::from_millis(100));
        }
        let bar = self.screen.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template(" {spinner} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| plain_style()));
        bar.set_message(cut(&plain(&vertex.name), columns().saturating_sub(AROUND)));
        bar.enable_steady_tick(Duration::from_millis(120));
        let step = LiveStep {
            started: Instant::now(),
            bar,
            tail: Vec::new(),
            shown: Tail::new(TAIL),
            missed: None,
        };
        lock(&self.running).insert(vertex.number, step);
    }

    fn cached(&self, vertex: &Vertex) {
        self.end(vertex, Style::Blue, "CACHED");
    }

    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        self.status(vertex, &format!("not cached: {reason}"));
        if let Some(step) = lock(&self.running).get_mut(&vertex.number) {
            step.missed = Some(plain(&reason.to_string()));
        }
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        let mut running = lock(&self.running);
        let Some(step) = running.get_mut(&vertex.number) else {
            return;
        };
        step.shown.feed(bytes);
        let lines = step.shown.shown();
        while step.tail.len() < lines.len() {
            let after = step.tail.last().unwrap_or(&step.bar);
            let line = self.screen.insert_after(after, ProgressBar::new_spinner());
            line.set_style(plain_style());
            step.tail.push(line);
        }
        let width = columns();
        for (bar, line) in step.tail.iter().zip(lines) {
            let line = cut(&format!("   # {line}"), width);
            bar.set_message(self.printer.paint(Style::Dim, line));
        }
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        if let Some(step) = lock(&self.running).get(&vertex.number) {
            let text = plain(&format!("{}  ({text})", vertex.name));
            let width = columns().saturating_sub(AROUND);
            step.bar.set_message(cut(&text, width));
        }
    }

    fn done(&self, vertex: &Vertex) {
        self.end(vertex, Style::Blue, "DONE  ");
    }

    fn failed(&self, vertex: &Vertex, _: &str) {
        // Why is told at the very end, with what the step wrote.
        self.end(vertex, Style::Red, "ERROR ");
    }

    fn canceled(&self, vertex: &Vertex) {
        self.end(vertex, Style::Yellow, "CANCELED");
    }

    fn planned(&self, steps: usize) {
        self.count(|counted| counted.planned = steps);
    }

    fn finished(&self) {
        let steps = *lock(&self.steps);
        self.header.finish_and_clear();
        let _ = self.screen.clear();
        if steps.started > 0 {
            let taken = seconds(self.begun.elapsed());
            let line = format!("[+] Building {taken} {} FINISHED", steps.shown());
            self.printer.note(line);
        }
    }

    fn warning(&self, text: &str) {
        let text = safe::escape(text);
        let text = format!("{}: {text}", self.printer.paint(Style::Yellow, "WARNING"));
        let _ = self.screen.println(text);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // A build that ended early leaves no line that looks as if it went on.
        let _ = self.screen.clear();
    }
}
