//! How a push or pull shows its layers: docker's words, in lines or in place.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Events, LayerState};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use oci::{Descriptor, DiffId, Digest};

use crate::term::printer::Printer;
use images::progress::LayerProgress;
use images::push::PushProgress;

/// Which way the layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Pull,
    Push,
    Load,
    Save,
}

impl Direction {
    /// What becomes of a layer's bytes, in docker's words where it has some.
    fn doing(self) -> &'static str {
        match self {
            Self::Pull => "Extracting",
            Self::Push => "Pushing",
            Self::Load => "Loading layer",
            Self::Save => "Saving layer",
        }
    }
}

/// Shows each layer's state. On a terminal lines are redrawn, with a bar; elsewhere there is a
/// line for each new state, as `docker` prints them.
pub struct Transfer {
    printer: Printer,
    direction: Direction,
    shown: Shown,
    rows: Mutex<Rows>,
}

enum Shown {
    Nothing,
    Lines,
    Live(MultiProgress),
}

#[derive(Default)]
struct Rows {
    last: HashMap<String, String>,
    bars: HashMap<String, ProgressBar>,
    /// Lines of a pull that may turn out to have nothing to do.
    held: Option<Vec<String>>,
    heading: Option<String>,
    order: Vec<String>,
}

impl Transfer {
    /// For a pull, with the line that comes first once the registry has answered. Nothing more
    /// is shown of a pull that finds every layer there until [`finish`](Self::finish).
    pub fn pull(printer: &Printer, quiet: bool, heading: String) -> Self {
        let transfer = Self::new(printer, quiet, Direction::Pull);
        let mut rows = transfer.rows();
        rows.held = Some(Vec::new());
        rows.heading = Some(heading).filter(|_| !quiet);
        drop(rows);
        transfer
    }

    /// For an archive that is read: on a terminal only, as `docker load` has it.
    pub fn load(printer: &Printer, quiet: bool) -> Self {
        Self::new(printer, quiet || !printer.live(), Direction::Load)
    }

    /// For an archive that is written: on a terminal only, wherever the archive goes.
    pub fn save(printer: &Printer, quiet: bool) -> Self {
        Self::new(printer, quiet || !printer.live(), Direction::Save)
    }

    /// Something that is no layer has come so far.
    pub fn bytes(&self, what: &str, doing: &str, current: u64, total: u64) {
        let mut rows = self.rows();
        self.show(&mut rows, what, doing, Some((current, total)));
    }

    /// For a push.
    pub fn push(printer: &Printer, quiet: bool) -> Self {
        Self::new(printer, quiet, Direction::Push)
    }

    fn new(printer: &Printer, quiet: bool, direction: Direction) -> Self {
        let shown = if quiet {
            Shown::Nothing
        } else if printer.live()
            && (direction == Direction::Save || std::io::stdout().is_terminal())
        {
            Shown::Live(MultiProgress::with_draw_target(
                ProgressDrawTarget::stderr_with_hz(12),
            ))
        } else {
            Shown::Lines
        };
        Self {
            printer: printer.clone(),
            direction,
            shown,
            rows: Mutex::default(),
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a transfer that went well: a pull has unpacked its layers now. `nothing_new`
    /// drops what was held back.
    pub fn finish(&self, nothing_new: bool) {
        let mut rows = self.rows();
        if nothing_new {
            rows.held = None;
            return;
        }
        self.release(&mut rows);
        if self.direction == Direction::Pull {
            let done: Vec<String> = rows
                .order
                .iter()
                .filter(|id| {
                    let last = rows.last.get(*id).map(String::as_str);
                    matches!(last, Some("Download complete"))
                })
                .cloned()
                .collect();
            for id in done {
                self.show(&mut rows, &id, "Pull complete", None);
            }
        }
        for bar in rows.bars.values() {
            bar.abandon();
        }
    }

    fn show(&self, rows: &mut Rows, id: &str, text: &str, progress: Option<(u64, u64)>) {
        let is_new = rows.last.get(id).is_none_or(|last| last != text);
        if is_new {
            rows.last.insert(id.to_owned(), text.to_owned());
            if !rows.order.iter().any(|known| known == id) {
                rows.order.push(id.to_owned());
            }
        }
        if progress.is_some() {
            self.release(rows);
        }
        match &self.shown {
            Shown::Nothing => {}
            // Bytes that come and go make no lines.
            Shown::Lines if progress.is_some() || !is_new => {}
            Shown::Lines => {
                let line = format!("{id}: {text}");
                match &mut rows.held {
                    Some(held) => held.push(line),
                    None => self.printer.line(line),
                }
            }
            Shown::Live(_) if rows.held.is_some() => {}
            Shown::Live(screen) => redraw(screen, rows, id, text, progress),
        }
    }

    /// There is something to do after all.
    fn release(&self, rows: &mut Rows) {
        let Some(lines) = rows.held.take() else {
            return;
        };
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines => lines.iter().for_each(|line| self.printer.line(line)),
            Shown::Live(screen) => {
                for id in rows.order.clone() {
                    let text = rows.last.get(&id).cloned().unwrap_or_default();
                    redraw(screen, rows, &id, &text, None);
                }
            }
        }
    }

    fn state(&self, id: &Digest, state: &LayerState) {
        let id = id.short();
        let mut rows = self.rows();
        let known = rows.last.contains_key(id);
        let (text, progress) = match (self.direction, state) {
            (Direction::Pull, LayerState::Waiting) if !known => {
                ("Pulling fs layer".to_owned(), None)
            }
            // A layer that waits has been listed already.
            (_, LayerState::Waiting) => return,
            (
                _,
                LayerState::Downloading { current, total }
                | LayerState::Extracting { current, total }
                | LayerState::Compressing { current, total }
                | LayerState::Pushing { current, total },
            ) => (state.to_string(), Some((*current, *total))),
            (_, state) => (state.to_string(), None),
        };
        if matches!(
            state,
            LayerState::VerifyingChecksum
                | LayerState::DownloadComplete
                | LayerState::PullComplete
                | LayerState::Retrying { .. }
        ) {
            self.release(&mut rows);
        }
        self.show(&mut rows, id, &text, progress);
    }
}

/// Brings a row on the screen up to date.
fn redraw(
    screen: &MultiProgress,
    rows: &mut Rows,
    id: &str,
    text: &str,
    progress: Option<(u64, u64)>,
) {
    let bar = rows.bars.entry(id.to_owned()).or_insert_with(|| {
        let bar = screen.add(ProgressBar::new(0).with_style(style("{prefix}: {msg}")));
        bar.set_prefix(id.to_owned());
        bar
    });
    // A word may get its figures later, as `Preparing` does.
    let first_figures = progress.is_some() && bar.length() == Some(0);
    let is_new = bar.message() != text || first_figures;
    if is_new {
        bar.set_style(style(match progress {
            Some((_, 0)) => "{prefix}: {msg} {decimal_bytes}",
            Some(_) => "{prefix}: {msg} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}",
            None => "{prefix}: {msg}",
        }));
        bar.set_message(text.to_owned());
    }
    match progress {
        Some((current, total)) => {
            bar.set_position(current);
            bar.set_length(total);
            // Each phase is seen once at least, however soon it ends.
            if is_new {
                bar.force_draw();
            }
        }
        None => bar.tick(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Events for Transfer {
    fn layer(&self, layer: &Descriptor, state: &LayerState) {
        if let Some(heading) = self.rows().heading.take() {
            self.printer.line(heading);
        }
        if !layer.media_type.is_image_config() {
            self.state(&layer.digest, state);
        }
    }
}

impl LayerProgress for Transfer {
    fn layer(&self, id: &Digest, current: u64, total: u64) {
        self.bytes(id.short(), self.direction.doing(), current, total);
    }

    fn done(&self, id: &Digest) {
        // docker leaves the line as it was at the end, with a full bar.
        if let Some(bar) = self.rows().bars.get(id.short()) {
            bar.set_position(bar.length().unwrap_or(0));
            bar.abandon();
        }
    }
}

impl PushProgress for Transfer {
    fn layers(&self, diff_ids: &[DiffId]) {
        for diff_id in diff_ids {
            self.state(diff_id.digest(), &LayerState::Preparing);
        }
    }

    fn layer(&self, diff_id: &DiffId, state: &LayerState) {
        self.state(diff_id.digest(), state);
    }
}
