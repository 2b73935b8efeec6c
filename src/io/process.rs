//! Other programs: run with a time limit, looked at, and ended by their number.
//!
//! A number is used again by the system, so nobody is ended before [`look`] has said who it is.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::io::clock::wait_until;

/// A running process, as the system describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it started, in whatever form the system says it: only good for comparing.
    pub started: String,
    /// Its command line, blanks between the arguments.
    pub arguments: String,
}

/// Runs a program to its end and returns what it wrote, both streams together.
///
/// The error says why it did not succeed, and ends with what it wrote.
pub fn run(command: &mut Command, within: Duration) -> Result<String, String> {
    // A file takes any amount of output, where a pipe nobody reads would stop the program.
    let mut output = tempfile::tempfile().map_err(|it| format!("no temporary file: {it}"))?;
    let (stdout, stderr) = (share(&output)?, share(&output)?);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().map_err(|it| it.to_string())?;
    let ended = wait_until(within, || child.try_wait().transpose());
    if ended.is_none() {
        // It may have ended by itself just now; either way it is gone after this.
        drop(child.kill());
        drop(child.wait());
    }
    let text = read(&mut output);
    match ended {
        Some(Ok(status)) if status.success() => Ok(text),
        Some(Ok(status)) => Err(format!("{status}: {}", tail(&text))),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("not done after {} s: {}", within.as_secs(), tail(&text))),
    }
}

/// The last lines of a text, for an error message.
#[must_use]
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 8;
    let lines: Vec<_> = text.lines().filter(|it| !it.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Who runs under a number; `None` where nobody does. One who has ended, but was not yet waited
/// for, no longer has a command line and counts as nobody's.
#[must_use]
pub fn look(pid: u32) -> Option<Seen> {
    let seen = if has_proc() { look_in_proc(pid) } else { ask_ps(pid) };
    seen.filter(|it| !it.arguments.is_empty())
}

/// The first process whose command line holds some words.
#[must_use]
pub fn find(words: &str) -> Option<u32> {
    everybody().into_iter().find(|it| look(*it).is_some_and(|it| it.arguments.contains(words)))
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Ends a process without asking.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // The one error that can come up is that it is gone already, which is what was wanted.
    let _ = kill_process(pid, signal);
}

fn share(file: &File) -> Result<Stdio, String> {
    file.try_clone().map(Stdio::from).map_err(|it| it.to_string())
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read back is missing from a message, and from nothing else.
    drop(file.rewind().and_then(|()| file.read_to_end(&mut bytes)));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn everybody() -> Vec<u32> {
    let number = |name: &str| name.trim().parse().ok();
    if has_proc() {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        return entries.filter_map(|it| number(it.file_name().to_str()?)).collect();
    }
    let ps = run(Command::new("ps").args(["-A", "-o", "pid="]), Duration::from_secs(5));
    ps.unwrap_or_default().lines().filter_map(number).collect()
}

fn has_proc() -> bool {
    fs::exists("/proc/self/stat").unwrap_or(false)
}

/// The start is the 22nd field of `stat`; the second, the name, may hold blanks and brackets.
fn look_in_proc(pid: u32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&line).replace('\0', " ");
    Some(Seen { started, arguments })
}

/// `lstart` is always 24 characters wide, in local time, which is why the zone is fixed.
fn ask_ps(pid: u32) -> Option<Seen> {
    let mut ps = Command::new("ps");
    ps.args(["-ww", "-o", "lstart=,args=", "-p", &pid.to_string()]);
    let line = run(ps.env("LC_ALL", "C").env("TZ", "UTC0"), Duration::from_secs(5)).ok()?;
    let (started, arguments) = line.trim().split_at_checked(24)?;
    Some(Seen { started: started.to_owned(), arguments: arguments.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{ask_ps, look};

    #[test]
    fn a_process_sees_itself_the_same_way_twice() {
        let me = std::process::id();
        let seen = look(me).expect("this process runs");
        assert_eq!(look(me), Some(seen.clone()));
        let name = std::env::args().next().expect("a test has a name");
        assert!(seen.arguments.contains(&name), "{seen:?}");
    }

    #[test]
    fn ps_says_the_same_command_line_as_proc() {
        let me = std::process::id();
        // Not every Linux has `ps`; there nothing asks it either.
        let Some(by_ps) = ask_ps(me) else { return };
        let seen = look(me).expect("this process runs");
        assert_eq!(by_ps.arguments, seen.arguments.trim());
        assert_eq!(ask_ps(me), Some(by_ps), "the start does not move");
    }

    #[test]
    fn nobody_runs_under_a_number_beyond_the_last() {
        assert_eq!(look(u32::MAX), None);
        assert_eq!(ask_ps(u32::MAX), None);
    }
}
