//! The only place that prints, and the only one that asks.
//!
//! Data goes to stdout, talk to stderr. What is written carries styles always; they are taken
//! away here where they are not wanted, judged for each of the two on its own.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

mod bar;

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressDrawTarget;
use tokio::task::spawn_blocking;

use self::bar::Bar;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR, CLICOLOR or TERM say otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// stdin, stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    color: ColorChoice,
}

/// Nothing more goes to stdout: its reader went away, or there is no room for it.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct Closed(#[from] io::Error);

impl Closed {
    /// Whether the reader went away, as `head` does once it has seen enough.
    #[must_use]
    pub fn is_by_reader(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl Terminal {
    /// The terminal of this process.
    #[must_use]
    pub fn new(color: Color) -> Self {
        let color = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { color }
    }

    /// Writes data.
    pub(crate) fn print(&self, text: &str) -> Result<(), Closed> {
        let mut out = AutoStream::new(io::stdout().lock(), self.color);
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes talk. Nobody listening is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Asks a question; `None` where the answer is the end of the input. Signals are heard while
    /// it waits.
    pub(crate) async fn ask(&self, question: &str) -> Option<String> {
        self.say(question);
        let answer = || {
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer).ok()?;
            (read > 0).then(|| answer.trim().to_owned())
        };
        spawn_blocking(answer).await.ok()?
    }

    /// A bar that grows as something goes on, with its rate and the time that is left; where stderr
    /// is no terminal, a line every now and then.
    pub(crate) fn bar(&self, of: &'static str) -> Bar {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Bar::new(*self, of, target)
    }

    /// Whether there is somebody to ask.
    #[must_use]
    pub(crate) fn is_interactive(&self) -> bool {
        io::stdin().is_terminal()
    }
}
