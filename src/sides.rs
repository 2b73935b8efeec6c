//! The three values side by side, resource by resource.

use std::collections::BTreeMap;

use crate::{
    address::Address,
    live::{Live, Observed},
    spec::Declared,
    state::{Recorded, State},
};

/// What is wanted, what was and what is, of one resource.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// The resource.
    pub address: &'a Address,
    /// What the spec declares.
    pub wanted: Option<&'a Declared>,
    /// What the state records.
    pub was: Option<&'a Recorded>,
    /// What the server holds.
    pub is: Option<&'a Observed>,
}

impl Sides<'_> {
    /// Whether the spec or the state knows it; what is only live is somebody else's.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.wanted.is_some() || self.was.is_some()
    }
}

/// Every address that any of the three has, in order.
///
/// One pass over three sorted maps: looking each address up in the others costs an unchanged plan
/// more than everything else it does.
pub fn sides<'a>(
    wanted: &'a BTreeMap<Address, Declared>,
    recorded: &'a State,
    live: &'a Live,
) -> impl Iterator<Item = Sides<'a>> {
    let mut wanted = wanted.iter().peekable();
    let mut was = recorded.resources.iter().peekable();
    let mut is = live.resources.iter().peekable();
    std::iter::from_fn(move || {
        let next =
            [wanted.peek().map(|it| it.0), was.peek().map(|it| it.0), is.peek().map(|it| it.0)];
        let address = next.into_iter().flatten().min()?;
        Some(Sides {
            address,
            wanted: wanted.next_if(|it| it.0 == address).map(|it| it.1),
            was: was.next_if(|it| it.0 == address).map(|it| it.1),
            is: is.next_if(|it| it.0 == address).map(|it| it.1),
        })
    })
}
