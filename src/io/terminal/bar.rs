//! A bar for what takes minutes.

use std::{
    cell::Cell,
    fmt,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Terminal;
use crate::units::{show_about, show_count};

/// How often a line is written where there is no terminal.
const PACE: Duration = Duration::from_secs(10);

/// What is short enough to be waited for is not shown.
const NOTICED: Duration = Duration::from_millis(400);

/// A bar that grows, and is gone with its value.
pub(crate) struct Bar {
    terminal: Terminal,
    of: &'static str,
    bar: ProgressBar,
    begun: Instant,
    said: Cell<Instant>,
}

impl Bar {
    pub(super) fn new(terminal: Terminal, of: &'static str, target: ProgressDrawTarget) -> Self {
        let template =
            "  {msg:14} [{bar:26}] {percent:>3}%  {human_pos} of {human_len}, {rate}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(None, target);
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // What cannot be written is missing from a bar, and from nothing else.
            let _ = write!(out, "{}/s", show_count(state.per_sec() as u64));
        };
        bar.set_style(style.with_key("rate", rate).progress_chars("##."));
        bar.set_message(of);
        let now = Instant::now();
        Self { terminal, of, bar, begun: now, said: Cell::new(now) }
    }

    /// How far it has come.
    pub(crate) fn at(&self, done: u64, of: u64) {
        if self.begun.elapsed() < NOTICED || of == 0 {
            return;
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
        if !self.bar.is_hidden() || self.said.get().elapsed() < PACE {
            return;
        }
        self.said.set(Instant::now());
        let took = self.begun.elapsed();
        let each = took.as_secs_f64() / done.max(1) as f64;
        let left = Duration::try_from_secs_f64(each * of.saturating_sub(done) as f64);
        let left = left.ok().and_then(|it| i64::try_from(it.as_nanos()).ok()).map(show_about);
        let left = left.map_or_else(String::new, |it| format!(", {it} left"));
        let (done, of) = (show_count(done), show_count(of));
        self.terminal.say(&format!("  {:<14} {done} of {of} {}{left}\n", "", self.of));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
