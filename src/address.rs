//! What a resource is called, everywhere: `stream.NAME`, `consumer.STREAM.NAME`, `kv.BUCKET`,
//! `object.BUCKET`.
//!
//! A bucket is its stream: `kv.B` and `stream.KV_B` are one address, which is shown as `kv.B`.
//! Names are the server's own. They cannot hold a dot, so an address reads back without doubt.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schema::{
    self, Field,
    bucket::{Bucket, is_bucket_name},
};

/// A resource. The order is that of creation: streams, then consumers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// `stream.NAME`, or the bucket that the name stands for
    Stream(String),
    /// `consumer.STREAM.NAME`
    Consumer {
        /// The stream it reads.
        stream: String,
        /// Its name on the server: the durable name.
        name: String,
    },
}

impl Address {
    /// The address of a stream.
    #[must_use]
    pub fn stream(name: &str) -> Self {
        Self::Stream(name.to_owned())
    }

    /// The address of a bucket.
    #[must_use]
    pub fn bucket(kind: Bucket, name: &str) -> Self {
        Self::Stream(kind.stream(name))
    }

    /// The address of a consumer.
    #[must_use]
    pub fn consumer(stream: &str, name: &str) -> Self {
        Self::Consumer { stream: stream.to_owned(), name: name.to_owned() }
    }

    /// The stream this resource is or belongs to.
    #[must_use]
    pub fn stream_name(&self) -> &str {
        match self {
            Self::Stream(name) | Self::Consumer { stream: name, .. } => name,
        }
    }

    /// The name the server knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(name) | Self::Consumer { name, .. } => name,
        }
    }

    /// Whether it is a stream.
    #[must_use]
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// The bucket that it is: of which kind, and the bucket's own name.
    #[must_use]
    pub fn as_bucket(&self) -> Option<(Bucket, &str)> {
        match self {
            Self::Stream(name) => Bucket::of(name),
            Self::Consumer { .. } => None,
        }
    }

    /// `stream`, `consumer`, `kv` or `object`.
    #[must_use]
    pub(crate) fn kind(&self) -> &'static str {
        match (self, self.as_bucket()) {
            (_, Some((kind, _))) => kind.noun(),
            (Self::Stream(_), None) => "stream",
            (Self::Consumer { .. }, None) => "consumer",
        }
    }

    /// The rows that describe this kind of resource.
    #[must_use]
    pub fn rows(&self) -> &'static [Field] {
        match self {
            Self::Stream(_) => schema::stream::STREAM,
            Self::Consumer { .. } => schema::consumer::CONSUMER,
        }
    }
}

/// The consumers of a stream, of what is kept by address.
pub(crate) fn consumers_of<'a, T>(
    resources: &'a BTreeMap<Address, T>,
    stream: &str,
) -> impl Iterator<Item = (&'a Address, &'a T)> + use<'a, T> {
    let stream = stream.to_owned();
    // No name is empty, so this stands before all of them.
    let first = Address::consumer(&stream, "");
    resources.range(first..).take_while(move |(it, _)| it.stream_name() == stream)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.as_bucket()) {
            (_, Some((kind, bucket))) => write!(f, "{}.{bucket}", kind.noun()),
            (Self::Stream(name), None) => write!(f, "stream.{name}"),
            (Self::Consumer { stream, name }, None) => write!(f, "consumer.{stream}.{name}"),
        }
    }
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no address: write `stream.NAME`, `consumer.STREAM.NAME`, `kv.BUCKET` or \
     `object.BUCKET`"
)]
pub struct NotAnAddress(String);

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("stream"), Some(name), None, None) if !name.is_empty() => Ok(Self::stream(name)),
            (Some("consumer"), Some(stream), Some(name), None)
                if !stream.is_empty() && !name.is_empty() =>
            {
                Ok(Self::consumer(stream, name))
            }
            (Some(noun), Some(name), None, None) if is_bucket_name(name) => {
                let kind = Bucket::ALL.into_iter().find(|it| it.noun() == noun);
                kind.map(|it| Self::bucket(it, name)).ok_or_else(|| NotAnAddress(text.to_owned()))
            }
            _ => Err(NotAnAddress(text.to_owned())),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}
