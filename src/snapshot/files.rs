//! Directory trees: made durable, and removed so that their space comes back.

use std::fs;
use std::io;
use std::path::Path;

/// Says what was done to which path, and keeps the kind.
pub(super) fn named(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |source| io::Error::new(source.kind(), format!("{doing} {}: {source}", path.display()))
}

/// Makes the names in a directory durable, or the content of a file.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(named("syncing", path))
}

/// Makes durable what is above it: its own name and the names of the missing directories that are created.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(path).map_err(named("creating directory", path))?;
    for created in missing {
        match created.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync(Path::new("."))?,
            Some(parent) => sync(parent)?,
            None => {}
        }
    }
    Ok(())
}

/// Lets the system forget what it remembers of all files in a directory, so that what is read next comes from the disk.
/// What was not synced stays, and not every file system can.
pub(super) fn drop_cached_tree(dir: &Path) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    for entry in fs::read_dir(dir).map_err(named("listing", dir))? {
        let entry = entry.map_err(named("listing", dir))?;
        let path = entry.path();
        if entry.file_type().map_err(named("looking at", &path))?.is_dir() {
            drop_cached_tree(&path)?;
        } else if let Ok(file) = fs::File::open(&path) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
    Ok(())
}

/// Makes durable all that is in a directory: contents first, then names.
pub(super) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).map_err(named("listing", dir))? {
        let entry = entry.map_err(named("listing", dir))?;
        let path = entry.path();
        if entry.file_type().map_err(named("looking at", &path))?.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(dir)
}

/// Removes a directory and all that is in it, if it is there. Files are emptied first: who has one open (a store that
/// was given up) would keep its space otherwise.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(named("listing", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(named("listing", dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(named("looking at", &path))?;
        if kind.is_dir() {
            remove_tree(&path)?;
            continue;
        }
        if kind.is_file() {
            let emptied = fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
            gone_is_fine(emptied).map_err(named("emptying", &path))?;
        }
        gone_is_fine(fs::remove_file(&path)).map_err(named("removing", &path))?;
    }
    gone_is_fine(fs::remove_dir(dir)).map_err(named("removing", dir))
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_removed_tree_gives_its_space_back_even_if_a_file_is_open() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        create_dir(&dir.join("c")).unwrap();
        fs::write(dir.join("c/file"), vec![1; 1 << 20]).unwrap();
        sync_tree(&dir).unwrap();
        let held = fs::File::open(dir.join("c/file")).unwrap();
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
        assert_eq!((held.metadata().unwrap().nlink(), held.metadata().unwrap().len()), (0, 0));
        remove_tree(&dir).unwrap();
    }
}
