//! A remark on something a person wrote or a server said: coded, located, with its remedy.

use std::{fmt, ops::Range};

use crate::address::Address;

/// A remark. Errors stop what would follow; warnings and notes do not.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What kind of remark this is.
    pub code: Code,
    /// How grave it is.
    pub severity: Severity,
    /// What is: lower case, no full stop, names in backticks.
    pub message: String,
    /// Where it was written, if a person wrote it.
    pub place: Option<Place>,
    /// The resource it is about, if it is about one.
    pub about: Option<Address>,
    /// What to do.
    pub help: Option<String>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For information.
    Note,
    /// Worth a look; nothing is stopped.
    Warning,
    /// Nothing goes on.
    Error,
}

/// A span of a file of the spec: bytes `start..end` of [`Sources::text`]. The order is that of
/// reading: file by file, the environment's own first, then from the top down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    file: u16,
    start: u32,
    end: u32,
}

/// The files a spec was read from; places point into them.
#[derive(Debug, Default)]
pub struct Sources(Vec<Source>);

#[derive(Debug)]
struct Source {
    path: String,
    /// `None` where only lines are known: places begin at their line then, from 1.
    text: Option<String>,
}

impl Sources {
    /// Adds a file and returns its number.
    pub fn add(&mut self, path: String, text: String) -> u16 {
        self.0.push(Source { path, text: Some(text) });
        u16::try_from(self.0.len() - 1).expect("an environment extends far fewer than 65,536 files")
    }

    /// A place of which only `path:line` is known, as a saved plan has it; `None` where the text is
    /// no such thing.
    pub(crate) fn note(&mut self, spot: &str) -> Option<Place> {
        let (path, line) = spot.rsplit_once(':')?;
        let line = line.parse().ok().filter(|it| *it > 0)?;
        let known = self.0.iter().position(|it| it.path == path && it.text.is_none());
        let file = u16::try_from(known.unwrap_or(self.0.len())).ok()?;
        if known.is_none() {
            self.0.push(Source { path: path.to_owned(), text: None });
        }
        Some(Place { file, start: line, end: line })
    }

    /// The path of a place, as it was opened.
    #[must_use]
    pub fn path(&self, place: Place) -> &str {
        &self.0[usize::from(place.file)].path
    }

    /// The whole text that a place points into; empty where it is not at hand.
    #[must_use]
    pub fn text(&self, place: Place) -> &str {
        self.0[usize::from(place.file)].text.as_deref().unwrap_or_default()
    }

    /// Whether the text that a place points into is at hand.
    pub(crate) fn shows(&self, place: Place) -> bool {
        self.0[usize::from(place.file)].text.is_some()
    }

    /// The first line of the first file that says something, for what is said of a whole spec.
    #[must_use]
    pub(crate) fn first_line(&self) -> Place {
        let text = self.0.first().and_then(|it| it.text.as_deref()).unwrap_or_default();
        let start = text.find(|it: char| !it.is_whitespace()).unwrap_or_default();
        let line = text[start..].lines().next().unwrap_or_default();
        Place::new(0, start..start + line.len())
    }

    /// `path:line` of a place, for messages that name a second one.
    #[must_use]
    pub(crate) fn spot(&self, place: Place) -> String {
        format!("{}:{}", self.path(place), self.line(place).0)
    }

    /// Blots a span out, so that no output which shows the source can show a secret.
    pub(crate) fn hide(&mut self, place: Place) {
        let Some(text) = &mut self.0[usize::from(place.file)].text else { return };
        let hidden = text[place.span()].bytes().map(|it| if it == b'\n' { '\n' } else { '*' });
        let hidden: String = hidden.collect();
        text.replace_range(place.span(), &hidden);
    }

    /// The bytes of a place, cut to what the text has, at the borders of its letters.
    #[must_use]
    pub fn span(&self, place: Place) -> Range<usize> {
        let (text, span) = (self.text(place), place.span());
        let border = |it: &usize| text.is_char_boundary(*it);
        let start = (0..=span.start.min(text.len())).rev().find(border).unwrap_or_default();
        let end = (span.end.max(start)..text.len()).find(border).unwrap_or(text.len());
        start..end
    }

    /// Line and column where a place begins, both from 1.
    #[must_use]
    pub fn line(&self, place: Place) -> (usize, usize) {
        if !self.shows(place) {
            return (place.span().start, 1);
        }
        self.position(place, self.span(place).start)
    }

    /// Line and column of a byte in the text of a place, both from 1.
    pub(crate) fn position(&self, place: Place, byte: usize) -> (usize, usize) {
        let before = &self.text(place)[..byte];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|it| *it != '\n').count() + 1;
        (line, column)
    }
}

impl Place {
    /// A span in a file of [`Sources`].
    #[must_use]
    pub fn new(file: u16, span: Range<usize>) -> Self {
        let narrow = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        Self { file, start: narrow(span.start), end: narrow(span.end) }
    }

    /// The place of some of its bytes, counted from its start.
    #[must_use]
    pub(crate) fn part(self, bytes: Range<usize>) -> Self {
        let start = self.span().start;
        Self::new(self.file, start + bytes.start..start + bytes.end)
    }

    /// The bytes it covers.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Finding {
    /// A finding that stops what would follow.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A finding worth a look.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    /// A finding for information.
    #[must_use]
    pub fn note(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message.into())
    }

    fn new(severity: Severity, code: Code, message: String) -> Self {
        Self { code, severity, message, place: None, about: None, help: None }
    }

    /// Says where it was written.
    #[must_use]
    pub fn at(mut self, place: impl Into<Option<Place>>) -> Self {
        self.place = place.into();
        self
    }

    /// Says which resource it is about.
    #[must_use]
    pub fn about(mut self, address: &Address) -> Self {
        self.about = Some(address.clone());
        self
    }

    /// Says the same in other words.
    #[must_use]
    pub(crate) fn said(mut self, words: impl Fn(&str) -> String) -> Self {
        self.message = words(&self.message);
        self.help = self.help.as_deref().map(words);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, remedy: impl Into<String>) -> Self {
        self.help = Some(remedy.into());
        self
    }
}

/// The closest of some names, for "did you mean …?"; `None` where nothing is close.
pub(crate) fn closest<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance =
        |name: &&str| strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase());
    let near = names.into_iter().min_by_key(distance)?;
    // Of a name of one or two letters nothing would be left.
    let length = typed.chars().count();
    let most = if length < 3 { 1.min(length.saturating_sub(1)) } else { 2.max(length / 3) };
    (distance(&near) <= most).then_some(near)
}

/// The help for a name that nobody knows, where a known one is close to it.
pub(crate) fn did_you_mean<'a>(
    typed: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    closest(typed, names).map(|near| format!("did you mean `{near}`?"))
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().0)
    }
}

/// What a finding is about. The names are stable; `Code::meaning` documents each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The file is not TOML.
    Syntax,
    /// A file that is named is not there, or is unreadable.
    File,
    /// `extends` leads back to itself.
    ExtendsCycle,
    /// A key that nothing knows.
    UnknownKey,
    /// A value of the wrong shape.
    WrongType,
    /// A value outside what the field takes.
    BadValue,
    /// A name that the server or jsplan refuses.
    BadName,
    /// A subject that is none.
    BadSubject,
    /// A field that the resource's key or the server decides.
    NotYours,
    /// Something required is left out.
    Missing,
    /// Two settings that exclude each other.
    Conflict,
    /// Two streams, or two subjects of one, take the same messages.
    SubjectOverlap,
    /// Two resources with one name.
    Duplicate,
    /// A secret written into the spec.
    InlineSecret,
    /// A rule of `[policy]` is broken.
    Policy,
    /// The server is too old for a field or a value.
    TooNew,
    /// A change that needs a replacement which would lose messages.
    Replacement,
    /// A change that would delete messages.
    DataLoss,
    /// A change that would keep messages from being delivered, or stored.
    Delivery,
    /// A change that would have messages delivered, or copied, again.
    Redelivery,
    /// A change that no update takes back.
    OneWay,
    /// The end of something that holds messages or a position.
    Destroy,
    /// A deletion of something protected.
    Protected,
    /// A resource that could not be read.
    Unreadable,
    /// A live resource of the same name that was made anew by somebody else.
    Recreated,
    /// The server or account is not the one expected.
    WrongTarget,
    /// A `--target` that names nothing.
    NoSuchTarget,
    /// More replicas than there are servers.
    Replicas,
    /// What came of a rehearsal.
    Rehearsal,
    /// A stream of a bucket's name that clients cannot use as one.
    NotABucket,
    /// A copy of a stream that is not there, or that cannot be copied like this.
    Origin,
    /// More than the account, or a stream, allows.
    Limit,
    /// Messages would leave their stream in a way in which they did not.
    Exposure,
    /// Others can read or change what should be for one user alone.
    Unprotected,
    /// A resource that another state owns.
    Owner,
    /// A migration that is not the one that was reviewed.
    Integrity,
    /// A migration that cannot work as it is written.
    Migration,
    /// A migration that would end without proof that every message is there.
    Unproven,
}

impl Code {
    /// Every code, for the reference page.
    pub const ALL: &'static [Self] = &[
        Self::Syntax,
        Self::File,
        Self::ExtendsCycle,
        Self::UnknownKey,
        Self::WrongType,
        Self::BadValue,
        Self::BadName,
        Self::BadSubject,
        Self::NotYours,
        Self::Missing,
        Self::Conflict,
        Self::SubjectOverlap,
        Self::Duplicate,
        Self::InlineSecret,
        Self::Policy,
        Self::TooNew,
        Self::Replacement,
        Self::DataLoss,
        Self::Delivery,
        Self::Redelivery,
        Self::OneWay,
        Self::Destroy,
        Self::Protected,
        Self::Unreadable,
        Self::Recreated,
        Self::WrongTarget,
        Self::NoSuchTarget,
        Self::Replicas,
        Self::Rehearsal,
        Self::NotABucket,
        Self::Origin,
        Self::Limit,
        Self::Exposure,
        Self::Unprotected,
        Self::Owner,
        Self::Integrity,
        Self::Migration,
        Self::Unproven,
    ];

    /// One sentence for the reference page.
    #[must_use]
    pub(crate) fn meaning(self) -> &'static str {
        self.row().1
    }

    #[expect(clippy::too_many_lines, reason = "a table with a row for each code")]
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Syntax => ("syntax", "The file is not TOML."),
            Self::File => ("file", "A file that is named is not there, or cannot be read."),
            Self::ExtendsCycle => ("extends-cycle", "`extends` leads back to the file itself."),
            Self::UnknownKey => ("unknown-key", "Nothing knows this key; it may be misspelt."),
            Self::WrongType => ("wrong-type", "The value has the wrong shape for its field."),
            Self::BadValue => ("bad-value", "The value is outside what the field takes."),
            Self::BadName => ("bad-name", "The server or jsplan refuses this name."),
            Self::BadSubject => ("bad-subject", "This text is no subject."),
            Self::NotYours => ("not-yours", "The key or the server decides this field."),
            Self::Missing => ("missing", "Something required is left out."),
            Self::Conflict => ("conflict", "Two settings exclude each other."),
            Self::SubjectOverlap => {
                ("subject-overlap", "Two streams, or two subjects of one, take the same messages.")
            }
            Self::Duplicate => ("duplicate", "Two resources have one name on the server."),
            Self::InlineSecret => {
                ("inline-secret", "A secret is written into the spec instead of a reference to it.")
            }
            Self::Policy => ("policy", "A rule of `[policy]` is broken."),
            Self::TooNew => ("too-new", "The server is too old for this field or value."),
            Self::Replacement => {
                ("replacement", "The change needs a replacement, which would lose messages.")
            }
            Self::DataLoss => ("data-loss", "Messages would be deleted, and nobody allowed it."),
            Self::Delivery => ("delivery", "Messages would not arrive, and nobody allowed it."),
            Self::Redelivery => ("redelivery", "Messages would come again, and nobody allowed it."),
            Self::OneWay => ("one-way", "No update takes it back, and nobody allowed it."),
            Self::Destroy => ("destroy", "Messages or a position would go, and nobody allowed it."),
            Self::Protected => ("protected", "What would be destroyed is protected."),
            Self::Unreadable => {
                ("unreadable", "The resource could not be read, so nothing is decided about it.")
            }
            Self::Recreated => {
                ("recreated", "Somebody deleted the resource and made another of the same name.")
            }
            Self::WrongTarget => {
                ("wrong-target", "The server or account is not the one the spec or state expects.")
            }
            Self::NoSuchTarget => ("no-such-target", "A `--target` names nothing."),
            Self::Replicas => ("replicas", "More replicas are asked for than there are servers."),
            Self::Rehearsal => (
                "rehearsal",
                "A throw-away server refused a step, or could not rehearse something.",
            ),
            Self::NotABucket => {
                ("not-a-bucket", "The live stream is not what clients take for a bucket.")
            }
            Self::Origin => (
                "origin",
                "A stream copies one that is not there, or that it cannot copy like this.",
            ),
            Self::Limit => ("limit", "It would be more than the account or the stream allows."),
            Self::Exposure => {
                ("exposure", "The server would send messages where it did not before.")
            }
            Self::Unprotected => ("unprotected", "Others can read or change what is one user's."),
            Self::Owner => ("owner", "Another state has marked the resource as its own."),
            Self::Integrity => {
                ("integrity", "A migration is not the one that `jsplan.sum` says was reviewed.")
            }
            Self::Migration => {
                ("migration", "The migration cannot work, or it stopped in the middle of a change.")
            }
            Self::Unproven => (
                "unproven",
                "Messages could be lost on the way, or nobody could prove that they are not.",
            ),
        }
    }
}
