//! Questions about the messages of a stream → their answers, each by the cheapest way that is exact.
//!
//! Only reading is done here. A consumer is made for it on streams alone that keep their messages by
//! limits: on one that keeps them by interest the server deletes with a consumer whatever no other
//! waits for, also what nobody ever matched, and a work queue refuses a second one.

mod stock;
mod walk;

use futures_util::{StreamExt as _, stream};

use self::stock::{Standing, Stock};
use super::{Session, error::Error};
use crate::{
    forecast::{
        Amount, How, Limits, Question, Reader, Tally,
        walk::{Beyond, Count, Picked, Unneeded, Waiting, at_most, exactly, written},
    },
    schema::Release,
    subject,
};

/// Most deleted sequences that are read one by one: more than a megabyte of them says less than it
/// costs.
const DELETED: u64 = 100_000;

/// Questions that are answered at a time: a walk fills a connection by itself.
const WINDOW: usize = 4;

/// Before this release the first limit on subjects takes effect on each when its next message comes,
/// or when the server starts; only one that is lowered does so at once.
const FIRST_LIMIT: Release = Release(2, 14, 0);

impl Session {
    /// Answers several questions.
    pub async fn tallies(&self, questions: Vec<Question>) -> Vec<(Question, Tally)> {
        let answer = async |question: Question| {
            let tally = self.tally(&question).await;
            (question, tally)
        };
        stream::iter(questions.into_iter().map(answer)).buffer_unordered(WINDOW).collect().await
    }

    /// Answers a question. It never fails as a whole: what cannot be read is unknown, and why is said.
    pub async fn tally(&self, question: &Question) -> Tally {
        let answer = match question {
            Question::Stored { stream } => self.stored(stream).await,
            Question::Unread { stream, consumer } => self.unread(stream, consumer).await,
            Question::Passed { stream, consumer, filters, except } => {
                self.passed(stream, consumer, (filters, except)).await
            }
            Question::Matching { stream, filters, except } => {
                self.matching(stream, filters, except).await
            }
            Question::Beyond { stream, limits } => self.beyond(stream, limits).await,
            Question::Unneeded { stream, readers } => {
                self.unneeded(stream, readers, Count::All).await
            }
            Question::Settled { stream, readers } => {
                self.unneeded(stream, readers, Count::Matched).await
            }
            Question::TimeToLive { stream } => self.mortal(stream).await,
            Question::Uncopied { stream, origin } => self.uncopied(stream, origin).await,
        };
        answer.unwrap_or_else(|error| unknown(&error))
    }

    async fn stored(&self, stream: &str) -> Result<Tally, Error> {
        Ok(self.stock(stream).await?.all())
    }

    /// What is pending and in flight follows from one INFO.
    async fn unread(&self, stream: &str, consumer: &str) -> Result<Tally, Error> {
        let standing = self.standing(stream, consumer).await?;
        let unread = standing.map_or(0, |it| it.pending + it.in_flight);
        Ok(Tally::of(exactly(unread)))
    }

    async fn passed(
        &self,
        stream: &str,
        consumer: &str,
        (filters, except): (&[String], &[String]),
    ) -> Result<Tally, Error> {
        let Some(standing) = self.standing(stream, consumer).await? else {
            return Ok(Tally::of(Amount::Nothing));
        };
        let stock = self.stock(stream).await?;
        // A consumer that was given all that it wants has gone on behind what it does not want, and
        // does not say how far: at most to the next one that it wants.
        let sure = standing.delivered;
        let next = self.next_of(stream, sure + 1, &standing.filters).await?;
        let upto = next.map_or(stock.last, |it| it - 1).max(sure);
        let covered = |it: &&String| except.iter().any(|wide| subject::covers(wide, it));
        let wanted: Vec<String> = filters.iter().filter(|it| !covered(it)).cloned().collect();
        if upto < stock.first || stock.messages == 0 || wanted.is_empty() {
            return Ok(Tally::of(Amount::Nothing));
        }
        let parted =
            wanted.iter().all(|it| !except.iter().any(|other| subject::overlap(it, other)));
        if parted && (stock.lends() || upto >= stock.last) {
            let between = self.next_of(stream, sure + 1, &wanted).await?;
            let exact = between.is_none_or(|it| it > upto);
            if let Ok(passed) = self.passed_by(&stock, upto, &wanted).await {
                let number = if exact { exactly(passed) } else { at_most(passed) };
                return Ok(Tally { how: How::Subjects, ..Tally::of(number) });
            }
        }
        let mut picked = Picked::on(&wanted, except, (sure, upto), stock.storage);
        let rest = self.walk(&stock, &mut |it| picked.take(it)).await?;
        Ok(picked.tally(rest))
    }

    /// How many there are on some subjects up to a sequence.
    async fn passed_by(&self, stock: &Stock, upto: u64, filters: &[String]) -> Result<u64, Error> {
        // Those behind it are counted first: what arrives between makes it more.
        let behind = match upto {
            upto if upto >= stock.last => 0,
            upto => self.pending(stock, upto + 1, filters).await?,
        };
        let all: u64 = self.subjects(&stock.name, filters).await?.values().sum();
        Ok(all.saturating_sub(behind))
    }

    /// The sequence of the first message from one on, on some subjects.
    async fn next_of(
        &self,
        stream: &str,
        from: u64,
        filters: &[String],
    ) -> Result<Option<u64>, Error> {
        let mut first = None;
        for filter in filters {
            let found = self.message(stream, from, filter).await?;
            first = found.map(|it| it.sequence).into_iter().chain(first).min();
        }
        Ok(first)
    }

    async fn matching(
        &self,
        stream: &str,
        filters: &[String],
        except: &[String],
    ) -> Result<Tally, Error> {
        if except.is_empty() && filters.iter().any(|it| it == ">") {
            return self.stored(stream).await;
        }
        let subjects = self.subjects(stream, filters).await?;
        let wanted = |name: &str| !except.iter().any(|it| subject::covers(it, name));
        let number = subjects.iter().filter(|it| wanted(it.0)).map(|it| it.1).sum();
        Ok(Tally { how: How::Subjects, ..Tally::of(exactly(number)) })
    }

    /// Limits delete from the front, but for that on subjects; one walk as far as the rest begins
    /// counts them all together, and most are counted without.
    async fn beyond(&self, stream: &str, limits: &Limits) -> Result<Tally, Error> {
        let stock = self.stock(stream).await?;
        let limit = |it: Option<u64>| it.filter(|_| !limits.discard_new).unwrap_or(u64::MAX);
        let over = stock.messages.saturating_sub(limit(limits.max_msgs));
        let heavy = stock.bytes > limit(limits.max_bytes);
        let each = limits.max_msgs_per_subject.is_some();
        let old = limits.max_age.and_then(|it| stock.cutoff(it)).filter(|it| stock.oldest <= *it);
        let counted = match (over, heavy, old, each) {
            (_, _, _, _) if stock.messages == 0 => return Ok(Tally::of(Amount::Nothing)),
            (over, false, None, false) => stock.first_ones(over),
            (0, false, Some(at), false) => self.before(&stock, at).await?,
            (_, _, _, _) => return self.beyond_several(&stock, limits).await,
        };
        let few = counted.messages.most().is_some_and(|it| (1..=stock.few()).contains(&it));
        if counted.bytes.is_none() && few {
            // Who may not read them knows their number all the same.
            let weighed = self.beyond_several(&stock, limits).await;
            return Ok(weighed.ok().filter(|it| it.bytes.is_some()).unwrap_or(counted));
        }
        Ok(counted)
    }

    async fn beyond_several(&self, stock: &Stock, limits: &Limits) -> Result<Tally, Error> {
        let mut beyond = Beyond::new(limits, stock.messages, stock.bytes, stock.now);
        let front = beyond.goes(stock.oldest);
        if front && self.walk(stock, &mut |it| beyond.take(it)).await? > 0 {
            return Ok(beyond.unended(stock.messages));
        }
        if limits.max_msgs_per_subject.is_none() {
            return Ok(beyond.tally(None));
        }
        let everything = [">".to_owned()];
        let subjects = self.subjects(&stock.name, &everything).await?;
        let mut tally = beyond.tally(Some(&subjects));
        if !stock.each && self.release() < FIRST_LIMIT {
            tally.messages = tally.messages.most().map_or(tally.messages, at_most);
        }
        Ok(if front { tally } else { Tally { how: How::Subjects, ..tally } })
    }

    /// Those stored up to an instant: the first one after it is looked for, and what is before that
    /// is counted by sequence.
    async fn before(&self, stock: &Stock, at: i64) -> Result<Tally, Error> {
        let next = self.first_after(stock, at).await?;
        let span = next.saturating_sub(stock.first);
        let messages = if stock.deleted == 0 {
            exactly(span)
        } else if stock.deleted <= DELETED {
            let deleted = self.deleted(&stock.name).await?;
            let gone = deleted.iter().filter(|it| (stock.first..next).contains(it)).count();
            exactly(span.saturating_sub(gone as u64))
        } else {
            at_most(span.min(stock.messages))
        };
        let newest = self.newest_before(stock, next).await;
        let oldest = written(stock.oldest);
        let upto = Some(next.saturating_sub(1));
        Ok(Tally { messages, bytes: None, oldest, newest, upto, how: How::ByTime })
    }

    async fn unneeded(
        &self,
        stream: &str,
        readers: &[Reader],
        count: Count,
    ) -> Result<Tally, Error> {
        let stock = self.stock(stream).await?;
        let mut waiting = Vec::new();
        for reader in readers {
            let standing = self.standing(stream, &reader.name).await?;
            waiting.extend(waits(reader, standing.as_ref()).map(|it| (it, standing)));
        }
        if waiting.is_empty() || stock.messages == 0 {
            return Ok(match count {
                Count::Matched => Tally::of(Amount::Nothing),
                Count::All => stock.all(),
            });
        }
        if let [(one, Some(standing))] = &waiting[..]
            && one.stays
            && !one.hides
            && one.filters == [">"]
        {
            let waits = standing.pending + standing.in_flight;
            return Ok(stock.some(stock.messages.saturating_sub(waits)));
        }
        let waiting: Vec<Waiting> = waiting.into_iter().map(|it| it.0).collect();
        let mut unneeded = Unneeded::new(&waiting, count, stock.storage);
        let rest = self.walk(&stock, &mut |it| unneeded.take(it)).await?;
        Ok(unneeded.tally(rest))
    }

    async fn mortal(&self, stream: &str) -> Result<Tally, Error> {
        let stock = self.stock(stream).await?;
        let everything = [">".to_owned()];
        let mut picked = Picked::mortal(&everything, stock.storage);
        let rest = self.walk(&stock, &mut |it| picked.take(it)).await?;
        Ok(picked.tally(rest))
    }

    /// A mirror has the sequences of its origin, so that what it lacks is behind its last one.
    async fn uncopied(&self, stream: &str, origin: &str) -> Result<Tally, Error> {
        let copy = self.stock(stream).await?;
        // Read last: what the origin takes meanwhile is not copied either.
        let origin = self.stock(origin).await?;
        let first = origin.first.max(copy.last + 1);
        let span = (origin.last + 1).saturating_sub(first);
        let number = span.min(origin.messages);
        let exact = origin.deleted == 0;
        Ok(Tally::of(if exact { exactly(number) } else { at_most(number) }))
    }
}

/// What a reader waits for; `None` where it is gone.
fn waits(reader: &Reader, standing: Option<&Standing>) -> Option<Waiting> {
    let filters = reader.filters.clone();
    match standing {
        Some(standing) => Some(Waiting {
            stays: standing.filters == filters,
            filters,
            floor: standing.floor,
            delivered: standing.delivered,
            in_flight: standing.explicit.then_some(standing.in_flight),
            hides: standing.redelivered > 0,
        }),
        None => reader.to_come.then_some(Waiting {
            filters,
            floor: 0,
            delivered: 0,
            in_flight: None,
            stays: true,
            hides: false,
        }),
    }
}

/// Why there is no number. Whoever may not read cannot count.
fn unknown(error: &Error) -> Tally {
    if error.is_absence() {
        // What is gone has no messages.
        return Tally::of(Amount::Nothing);
    }
    let reason = if let Error::Denied { subject } = error {
        format!("needs read: may not publish to `{subject}`")
    } else {
        error.to_string()
    };
    Tally::of(Amount::Unknown(reason))
}
