//! Durations, sizes and counts, between what people write and what the wire carries.
//!
//! The wire counts nanoseconds and bytes. Both ways are exact: what has no round form is written
//! out in full rather than rounded, so that two different values never look the same in a diff.

use bytesize::ByteSize;
use jiff::{SignedDuration, Span, SpanRelativeTo, SpanRound, Timestamp, Unit, fmt::friendly};

/// Nanoseconds of `"7d"`, `"24h"`, `"1h30m"`, `"250ms"`; the error says what was expected.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let expected = || "expected a duration such as \"7d\", \"24h\" or \"250ms\"".to_owned();
    let span: Span = text.trim().parse().map_err(|_| expected())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length: write days, such as \"30d\"".to_owned());
    }
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    if length < SignedDuration::ZERO {
        return Err("a duration is never negative".to_owned());
    }
    i64::try_from(length.as_nanos()).map_err(|_| "at most 292 years fit the wire".to_owned())
}

/// `"7d"`, `"1h30m"`, `"250ms"` for nanoseconds; exact, in the largest units that fit.
#[must_use]
pub(crate) fn show_duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let largest = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    let Ok(span) = Span::new().try_nanoseconds(nanoseconds).and_then(|it| it.round(largest)) else {
        return format!("{nanoseconds}ns");
    };
    // A day alone is better known as 24 hours, and a fraction of a day as hours.
    let hours = nanoseconds / 3_600_000_000_000;
    if nanoseconds % 3_600_000_000_000 == 0 && hours % 24 != 0 || hours == 24 {
        return format!("{hours}h");
    }
    friendly::SpanPrinter::new().spacing(friendly::Spacing::None).span_to_string(&span)
}

/// Bytes of `"50GiB"`, `"512KiB"`, `"10MB"`; the error says what was expected.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let size: ByteSize = text
        .trim()
        .parse()
        .map_err(|_| "expected a size such as \"50GiB\", \"512KiB\" or \"unlimited\"".to_owned())?;
    i64::try_from(size.as_u64()).map_err(|_| "at most 8 EiB fit the wire".to_owned())
}

/// `50GiB` where the number of bytes is a whole one of a unit, else the plain number.
#[must_use]
pub(crate) fn show_bytes(bytes: i64) -> String {
    const UNITS: [(&str, u32); 5] =
        [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (name, shift) in UNITS {
        let unit = 1_i64 << shift;
        if bytes >= unit && bytes % unit == 0 {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// A rounded size for sentences, never for diffs: `18.2 MiB`.
#[must_use]
pub(crate) fn about_bytes(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// `214,880`.
#[must_use]
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 message`, `1,200 messages`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", show_count(number))
}

/// `1 message`, `1,200 messages`, of a number that counts values in memory.
pub(crate) fn count_of(number: usize, thing: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), thing)
}

/// An instant in RFC 3339, in UTC, as it is compared; `None` where the text is none.
#[must_use]
pub(crate) fn instant(text: &str) -> Option<String> {
    Some(text.parse::<Timestamp>().ok()?.to_string())
}

/// `2026-11-20 04:11 UTC` for an instant in RFC 3339; `None` where the text is none.
#[must_use]
pub(crate) fn show_instant(text: &str) -> Option<String> {
    Some(text.parse::<Timestamp>().ok()?.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// Whether an instant in RFC 3339 is no later than another; `false` where either is none.
#[must_use]
pub(crate) fn has_passed(instant: &str, at: &str) -> bool {
    let both = instant.parse::<Timestamp>().ok().zip(at.parse::<Timestamp>().ok());
    both.is_some_and(|(instant, at)| instant <= at)
}

/// Nanoseconds from one instant in RFC 3339 to another, negative where the other is earlier; as many
/// as fit. `None` where either is none.
#[must_use]
pub(crate) fn elapsed(from: &str, to: &str) -> Option<i64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    let length = to.as_nanosecond().saturating_sub(from.as_nanosecond());
    Some(i64::try_from(length).unwrap_or(if length < 0 { i64::MIN } else { i64::MAX }))
}

/// A duration for sentences, cut to its largest unit: `11m`, `26h`, `3d`.
#[must_use]
pub(crate) fn show_about(nanoseconds: i64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
