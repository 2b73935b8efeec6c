//! `jsplan fmt`: specs in their one layout, comments kept.

use std::path::PathBuf;

use super::{Exit, Failure, project::Project};
use crate::{io::files, render, spec::format};

/// What `fmt` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Specs, or folders of them
    #[arg(value_name = "FILE", default_value = "environments")]
    files: Vec<PathBuf>,
    /// Change nothing, and end with 1 where a file is laid out otherwise
    #[arg(long)]
    check: bool,
}

/// Lays out each file, and names those that were not as they should be.
pub(crate) fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let mut changed = 0;
    let mut broken = false;
    for given in &args.files {
        for path in files::below(&project.dir.join(given), "toml")? {
            let text = files::read(&path)?;
            let shown = path.strip_prefix(&project.dir).unwrap_or(&path).display().to_string();
            match format::format(&shown, &text) {
                Ok(laid_out) if laid_out == text => {}
                Ok(laid_out) => {
                    changed += 1;
                    project.show(&render::talk::path(&shown))?;
                    if !args.check {
                        files::rewrite(&path, &laid_out)?;
                    }
                }
                Err(format::Broken { findings, sources }) => {
                    broken = true;
                    project.show_findings(&findings, &sources);
                }
            }
        }
    }
    Ok(if broken || args.check && changed > 0 { Exit::Failed } else { Exit::Done })
}
