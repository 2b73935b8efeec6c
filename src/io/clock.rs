//! Waiting for the world: for a condition with a deadline, never for a length of time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks again and again, at first quickly, until the condition answers; `None` at the deadline.
///
/// The condition is asked at least once, and once more after the deadline has passed.
pub fn wait_until<T>(within: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    const LONGEST_PAUSE: Duration = Duration::from_millis(25);
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        let late = Instant::now() >= deadline;
        let answer = condition();
        if answer.is_some() || late {
            return answer;
        }
        thread::park_timeout(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
