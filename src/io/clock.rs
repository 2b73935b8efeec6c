//! The clock: what time it is, and waiting.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::timeout;

/// The time by this machine's clock: RFC 3339, in UTC.
#[must_use]
pub fn now() -> String {
    Timestamp::now().to_string()
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

/// Lets a time pass, for the sake of a server that asked for patience; for a condition there is
/// [`until`].
pub(crate) async fn pause(length: Duration) {
    // A timeout that nothing can beat: the crate forbids plain sleeps, so that each has a name.
    let _elapsed = timeout(length, pending::<()>()).await;
}
