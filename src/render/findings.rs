//! Findings as rustc draws them: file, line, caret, help.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::{CHANGED, DANGER, NAME, escape, text::WIDTH};
use crate::{
    finding::{Finding, Severity, Sources},
    letters::is_invisible,
    units::count_of,
};

/// Every finding, an empty line between two, and how many there are of each severity.
pub(super) fn findings(findings: &[Finding], sources: &Sources) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for finding in findings {
        text += &drawn(finding, sources);
        text += "\n\n";
    }
    text + &tally(findings)
}

fn drawn(finding: &Finding, sources: &Sources) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(escape(&finding.message)).id(finding.code.to_string());
    let mut group = Group::with_title(title);
    match (finding.place, &finding.about) {
        (Some(place), _) if !sources.shows(place) => {
            let path = escape(sources.path(place)).into_owned();
            group = group.element(Origin::path(path).line(sources.line(place).0));
        }
        (Some(place), _) => {
            let path = escape(sources.path(place));
            let snippet = excerpt(sources.text(place), sources.span(place));
            group = group.element(snippet.path(path));
        }
        (None, Some(about)) if !finding.message.contains(&about.to_string()) => {
            group = group.element(Origin::path(super::text::address(about)));
        }
        (None, Some(_) | None) => {}
    }
    let help = finding.help.iter().map(|it| Element::from(Level::HELP.message(escape(it))));
    Renderer::styled().term_width(WIDTH).render(&[group.elements(help)])
}

/// The lines of a span, with everything that is no plain letter replaced by as many bytes, so
/// that the caret still stands where it should.
fn excerpt(
    text: &str,
    span: Range<usize>,
) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match (letter, letter.len_utf8()) {
            ('\n' | '\t', _) => safe.push(letter),
            ('\r', _) => safe.push(' '),
            (other, 1) if is_invisible(other) => safe.push('?'),
            (other, 2) if is_invisible(other) => safe.push('\u{b7}'),
            (other, 3) if is_invisible(other) => safe.push('\u{fffd}'),
            (other, _) if is_invisible(other) => safe.push_str("\u{b7}\u{b7}"),
            (other, _) => safe.push(other),
        }
    }
    Snippet::source(safe).annotation(AnnotationKind::Primary.span(span))
}

/// `3 errors, 1 warning`.
fn tally(findings: &[Finding]) -> String {
    let of = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let kinds = [
        (of(Severity::Error), "error", DANGER),
        (of(Severity::Warning), "warning", CHANGED),
        (of(Severity::Note), "note", NAME),
    ];
    let kinds = kinds.into_iter().filter(|(number, ..)| *number > 0);
    let words: Vec<_> = kinds
        .map(|(number, word, style)| style.style(count_of(number, word)).to_string())
        .collect();
    words.join(", ") + "\n"
}
