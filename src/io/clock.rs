//! The clock: what time it is, and waiting.

use std::{
    future::pending,
    pin::pin,
    thread,
    time::{Duration, Instant},
};

use jiff::{Timestamp, Unit};
use tokio::time::timeout;

/// The time by this machine's clock, to the second: RFC 3339, in UTC.
#[must_use]
pub(crate) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// How long ago an instant was, by this machine's clock; `None` where the text is none.
#[must_use]
pub(crate) fn seconds_since(instant: &str) -> Option<i64> {
    let then: Timestamp = instant.parse().ok()?;
    Some((Timestamp::now().as_second() - then.as_second()).max(0))
}

/// Waits until a condition holds; false where the deadline came first.
///
/// The condition is asked at once, and then every `pace`.
pub async fn until(
    deadline: Instant,
    pace: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> bool {
    loop {
        if condition().await {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        pause(pace.min(left)).await;
    }
}

/// Runs a future to its end, and remarks on it once it has taken this long.
pub(crate) async fn remarked<T>(
    future: impl Future<Output = T>,
    after: Duration,
    remark: impl FnOnce(),
) -> T {
    let mut future = pin!(future);
    if let Ok(done) = timeout(after, &mut future).await {
        return done;
    }
    remark();
    future.await
}

/// Runs a future for so long at most; `None` where it takes longer.
pub(crate) async fn within<T>(longest: Duration, future: impl Future<Output = T>) -> Option<T> {
    timeout(longest, future).await.ok()
}

/// Lets a time pass, for the sake of a server that asked for patience; for a condition there is
/// [`until`].
pub(crate) async fn pause(length: Duration) {
    // A timeout that nothing can beat: the crate forbids plain sleeps, so that each has a name.
    let _elapsed = timeout(length, pending::<()>()).await;
}

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
