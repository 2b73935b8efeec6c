//! Reading and writing files: specs, plans, and whatever is replaced as a whole.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::fault::{self, Operation, Point};
use crate::migration::{FOLDER, SUM};

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

    /// Whether the user may not do it.
    pub(crate) fn is_denied(&self) -> bool {
        let kind = self.source.kind();
        matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
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
    let text = fault::before(Operation::Read, path).and_then(|()| fs::read_to_string(path));
    text.map_err(|source| Error::new("read", path, source))
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
    fault::before(Operation::Read, path).and_then(|()| fs::read_to_string(&real)).map_err(error)
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
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(it) if it.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(it) => Err(it),
    }
}

/// The text of a file that a crash may have cut within a letter, or `None` where there is no file.
pub(crate) fn read_torn(path: &Path) -> Result<Option<String>, Error> {
    match fault::before(Operation::Read, path).and_then(|()| fs::read(path)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::new("read", path, source)),
    }
}

/// Replaces a file so that a reader, or a crash at any moment, finds the old text or the new one:
/// written beside it, synced, renamed over it, the folder synced. Only the owner may read it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let folder = above(path);
    let name = unfinished(&path.file_name().unwrap_or_default().to_string_lossy()) + ".";
    let write = || -> io::Result<()> {
        fault::before(Operation::Create, folder)?;
        // Of the error only its kind: the name of the temporary file means nothing to anybody.
        let mut file =
            tempfile::Builder::new().prefix(&name).tempfile_in(folder).map_err(|it| it.kind())?;
        fault::before(Operation::Write(text.as_bytes()), file.path())?;
        file.write_all(text.as_bytes())?;
        fault::at(Point::TextWritten);
        fault::before(Operation::Sync, file.path())?;
        file.as_file().sync_all()?;
        fault::at(Point::TextSynced);
        fault::before(Operation::Rename(path), file.path())?;
        file.persist(path).map_err(|it| it.error)?;
        fault::at(Point::TextRenamed);
        fault::before(Operation::SyncFolder, folder)?;
        sync_folder(folder)?;
        fault::at(Point::FolderSynced);
        Ok(())
    };
    write().map_err(|source| Error::new("write", path, source))
}

/// Removes what a crash left of replacements of the files in a folder whose names begin so. Nobody
/// else may be replacing one of them.
pub(crate) fn sweep(folder: &Path, names: &str) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let is_left =
        |it: &fs::DirEntry| it.file_name().to_string_lossy().starts_with(&unfinished(names));
    let left = entries.filter_map(Result::ok).filter(is_left);
    left.map(|it| it.path()).try_for_each(|it| remove_if_there(&it))
}

/// What the name of a file begins with that is to replace another.
fn unfinished(name: &str) -> String {
    format!(".{name}")
}

/// Opens a file that is there, so that [`append`] can add to it. Where its name is a link, somebody
/// else made it.
pub(crate) fn open_to_append(path: &Path) -> Result<fs::File, Error> {
    let open = || {
        fault::before(Operation::Open, path)?;
        through_no_link().append(true).open(path)
    };
    open().map_err(|source| Error::new("open", path, source))
}

/// Adds text to a file that was opened for it; it is on disk when this returns.
pub(crate) fn append(mut file: &fs::File, path: &Path, text: &str) -> Result<(), Error> {
    let mut write = || {
        fault::before(Operation::Write(text.as_bytes()), path)?;
        file.write_all(text.as_bytes())?;
        fault::before(Operation::Sync, path)?;
        file.sync_data()
    };
    write().map_err(|source| Error::new("write", path, source))
}

/// Opens a file that is locked and never replaced, and makes it where there is none.
pub(crate) fn open_to_lock(path: &Path) -> Result<fs::File, Error> {
    let open = || {
        fault::before(Operation::Open, path)?;
        through_no_link().read(true).write(true).create(true).truncate(false).open(path)
    };
    open().map_err(|source| Error::new("lock", path, source))
}

/// Replaces the text of a file that is never replaced itself.
pub(crate) fn overwrite(mut file: &fs::File, path: &Path, text: &str) -> Result<(), Error> {
    let mut write = || {
        file.set_len(0)?;
        fault::before(Operation::Write(text.as_bytes()), path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|source| Error::new("write", path, source))
}

/// What is opened to be written is nobody's link to something else, and only its owner's to read.
fn through_no_link() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    let flag = i32::try_from(OFlags::NOFOLLOW.bits());
    options.mode(0o600).custom_flags(flag.unwrap_or_default());
    options
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
    match fault::before(Operation::Remove, path).and_then(|()| fs::remove_file(path)) {
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

/// The folder that is there for what goes with a reboot.
pub(crate) fn temporary() -> PathBuf {
    std::env::temp_dir()
}

/// Makes a folder and those above it, for nobody but their owner.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    let missing: Vec<_> =
        path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
    let make = || {
        fault::before(Operation::MakeFolder, path)?;
        fs::DirBuilder::new().mode(0o700).recursive(true).create(path)?;
        missing.iter().try_for_each(|it| {
            fault::before(Operation::SyncFolder, above(it))?;
            sync_folder(above(it))
        })
    };
    make().map_err(|source| Error::new("make the folder", path, source))
}

/// The folder that a path is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

/// Paths with the texts of their files.
pub(crate) type Texts = Vec<(String, String)>;

/// The migrations of a project, in order, and the sum over them; neither where there is no folder.
pub(crate) fn migrations(project: &Path) -> Result<(Texts, Option<String>), Error> {
    let folder = project.join(FOLDER);
    if !folder.is_dir() {
        return Ok((Vec::new(), None));
    }
    let entries = fs::read_dir(&folder).map_err(|it| Error::new("read", &folder, it))?;
    let names = entries.filter_map(Result::ok).filter_map(|it| it.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|it| it.ends_with(".toml")).collect();
    names.sort();
    let specs = project.join("environments");
    let read = |name: &String| {
        let text = read_within(&specs, &folder.join(name))?;
        Ok((format!("{FOLDER}/{name}"), text))
    };
    let texts = names.iter().map(read).collect::<Result<_, Error>>()?;
    Ok((texts, read_if_there(&folder.join(SUM))?))
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
