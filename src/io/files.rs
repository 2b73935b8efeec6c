//! Reading and writing files: specs, plans, and whatever is replaced as a whole.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {source}", path.display())]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// An error of `doing` something to a path.
    pub(super) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self { doing, path: path.to_owned(), source }
    }

    /// The cause alone, for those who name the path themselves.
    #[must_use]
    pub fn why(&self) -> String {
        self.source.to_string()
    }
}

/// Makes a folder the one that relative paths start from: those in a spec too.
pub fn enter(folder: &Path) -> Result<(), Error> {
    std::env::set_current_dir(folder).map_err(|it| Error::new("work in", folder, it))
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::new("read", path, source))
}

/// The text of a file, unless `..` or a link leads out of the folder that it should be in.
pub(crate) fn read_within(folder: &Path, path: &Path) -> Result<String, Error> {
    let error = |source| Error::new("read", path, source);
    let real = fs::canonicalize(path).map_err(error)?;
    if !real.starts_with(fs::canonicalize(folder).map_err(error)?) {
        return Err(error(io::Error::other(format!("it lies outside `{}/`", folder.display()))));
    }
    // Whatever else has a name, such as a pipe, might never end.
    if !real.is_file() {
        return Err(error(io::Error::other("it is no file")));
    }
    fs::read_to_string(&real).map_err(error)
}

/// Refuses a path that is a link out of the folder it stands in; one that is not there is none.
pub(crate) fn stays_within(folder: &Path, path: &Path) -> Result<(), Error> {
    if !fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        return Ok(());
    }
    let inside =
        fs::canonicalize(path).and_then(|it| Ok(it.starts_with(fs::canonicalize(folder)?)));
    match inside {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => {
            let why = format!("it is a link out of `{}/`", folder.display());
            Err(Error::new("use", path, io::Error::other(why)))
        }
    }
}

/// The mode of a folder that others may write into.
pub(crate) fn open_to_others(folder: &Path) -> Option<u32> {
    let it = fs::metadata(folder).ok()?;
    // Many systems give each user a group of the same number, and nobody else is in it.
    let others = if it.gid() == it.uid() { 0o002 } else { 0o022 };
    (it.mode() & others != 0).then_some(it.mode() & 0o777)
}

/// The text of a file, or `None` where there is no file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::new("read", path, source)),
    }
}

/// The text of a file that a crash may have cut within a letter, or `None` where there is no file.
pub(crate) fn read_torn(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::new("read", path, source)),
    }
}

/// Replaces a file so that a reader, or a crash at any moment, finds the old text or the new one:
/// written beside it, synced, renamed over it, the folder synced. Only the owner may read it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        // Of the error only its kind: the name of the temporary file means nothing to anybody.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|it| it.kind())?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|it| it.error)?;
        sync_folder(folder)
    };
    write().map_err(|source| Error::new("write", path, source))
}

/// Replaces a file that a person keeps: as [`replace`], with its permissions, and through links.
pub(crate) fn rewrite(path: &Path, text: &str) -> Result<(), Error> {
    let error = |it| Error::new("write", path, it);
    let path = fs::canonicalize(path).map_err(error)?;
    let permissions = fs::metadata(&path).map_err(error)?.permissions();
    replace(&path, text)?;
    fs::set_permissions(&path, permissions).map_err(error)
}

/// A file, or those of a kind anywhere below a folder, in order.
pub(crate) fn below(path: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|it| Error::new("read", path, it))?;
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok).map(|it| it.path()) {
        if entry.is_dir() {
            found.extend(below(&entry, extension)?);
        } else if entry.extension().is_some_and(|it| it == extension) {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a file; that there is none is as good.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::new("remove", path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A rename is durable only once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A folder that goes with its value.
pub(crate) fn throw_away() -> Result<tempfile::TempDir, Error> {
    tempfile::tempdir().map_err(|it| Error::new("make a folder in", &std::env::temp_dir(), it))
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::new("make the folder", path, source))
}

/// The environments of a project: the specs in `environments/` that no other spec extends.
pub(crate) fn environments(project: &Path) -> Result<Vec<String>, Error> {
    let folder = project.join("environments");
    let entries = fs::read_dir(&folder).map_err(|it| Error::new("read", &folder, it))?;
    let mut names = Vec::new();
    let mut bases = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|it| it.to_str()) else { continue };
        if path.extension().is_none_or(|it| it != "toml") || !path.is_file() {
            continue;
        }
        names.push(name.to_owned());
        let base = fs::read_to_string(&path).ok().as_deref().and_then(extended);
        bases.extend(base);
    }
    names.sort();
    let roots: Vec<_> = names.iter().filter(|it| !bases.contains(it)).cloned().collect();
    // Where every spec is extended they go in a circle, and reading any of them says so.
    Ok(if roots.is_empty() { names } else { roots })
}

/// The name of the spec that a spec extends: `extends` stands above the first table, so no more
/// than that is read.
fn extended(text: &str) -> Option<String> {
    let head: String = text
        .lines()
        .take_while(|it| !it.trim_start().starts_with('['))
        .flat_map(|it| [it, "\n"])
        .collect();
    let table: toml::Table = head.parse().ok()?;
    let path = table.get("extends")?.as_str()?;
    Some(Path::new(path).file_stem()?.to_str()?.to_owned())
}
