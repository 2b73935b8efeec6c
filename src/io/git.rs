//! Which commit of a git repository a folder is at, read from its files: no program is run.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The commit that is checked out; `None` where there is no repository, or no commit yet.
#[must_use]
pub(crate) fn commit(folder: &Path) -> Option<String> {
    let folder =
        fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let git = folder.ok()?.ancestors().map(|it| it.join(".git")).find(|it| it.exists())?;
    let own = own_folder(&git)?;
    let head = read(&own.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return digest(&head) };
    // Branches belong to all work trees of a repository.
    let shared = read(&own.join("commondir")).map_or_else(|| own.clone(), |it| own.join(it));
    let loose = [&own, &shared].into_iter().find_map(|it| read(&it.join(name)));
    loose.or_else(|| packed(&shared, name)).as_deref().and_then(digest)
}

/// `.git` is a folder, or in a further work tree a file that names one.
fn own_folder(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let target = read(git)?.strip_prefix("gitdir: ")?.to_owned();
    Some(git.parent()?.join(target))
}

/// Branches that have not moved for long stand together in one file.
fn packed(shared: &Path, name: &str) -> Option<String> {
    let text = read(&shared.join("packed-refs"))?;
    let mut lines = text.lines().filter_map(|it| it.split_once(' '));
    lines.find(|it| it.1 == name).map(|it| it.0.to_owned())
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn digest(text: &str) -> Option<String> {
    let whole = text.len() >= 40 && text.bytes().all(|it| it.is_ascii_hexdigit());
    whole.then(|| text.to_owned())
}
