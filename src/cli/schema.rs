//! `jsplan schema`: the JSON Schema of a spec, for editors.

use super::{Exit, Failure, project::Project};
use crate::reference;

/// Prints the schema.
pub(crate) fn run(project: &Project) -> Result<Exit, Failure> {
    project.show(&reference::schema::schema())?;
    Ok(Exit::Done)
}
