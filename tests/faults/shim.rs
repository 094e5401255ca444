//! The shim under a process: built once, told what is to fail, asked what did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::{Kind, Options};

/// The library, or `None` where there is no C compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
            let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
            // Two tests at a time may build it; whoever has it loaded keeps the one that it loaded.
            let unfinished = library.with_extension(format!("so.{}", std::process::id()));
            let built = Command::new("cc")
                .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", source, "-ldl", "-lpthread", "-o"])
                .arg(&unfinished)
                .output()
                .ok()?;
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            fs::rename(&unfinished, &library).unwrap();
            Some(library)
        })
        .as_deref()
}

/// Whether a test can't be run, which it says.
pub(crate) fn skipped() -> bool {
    if library().is_none() {
        println!("SKIPPED: faults of the file system need a C compiler (cc)");
    }
    library().is_none()
}

/// A home for a data directory, with rules about what fails below it.
pub(crate) struct Shim {
    home: tempfile::TempDir,
    version: std::cell::Cell<u32>,
}

impl Shim {
    pub(crate) fn new() -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub(crate) fn at(place: &Path) -> Self {
        let home = tempfile::tempdir_in(place).unwrap();
        fs::create_dir(home.path().join("disk")).unwrap();
        let shim = Self { home, version: 0.into() };
        shim.rules("");
        shim
    }

    /// Keeps what is there for whoever looks at a failure.
    pub(crate) fn keep(self) -> PathBuf {
        self.home.keep()
    }

    /// All that the shim is about.
    pub(crate) fn disk(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.disk().join("data")
    }

    pub(crate) fn trace(&self) -> PathBuf {
        self.home.path().join("trace")
    }

    /// A server on it without the shim.
    pub(crate) fn plain(&self) -> Options {
        Options::new(Kind::Claimlog).dir(&self.data())
    }

    /// A server with the shim under it.
    pub(crate) fn options(&self) -> Options {
        self.plain()
            .env("LD_PRELOAD", library().unwrap())
            .env("CLAIMLOG_SHIM_ROOT", self.disk())
            .env("CLAIMLOG_SHIM_RULES", self.home.path().join("rules"))
    }

    /// The same, and what is done to the disk is written down.
    pub(crate) fn traced(&self) -> Options {
        self.options().env("CLAIMLOG_SHIM_TRACE", self.trace())
    }

    /// From now on these rules hold; all counts begin anew. See `shim.c`.
    pub(crate) fn rules(&self, lines: &str) {
        let _ = fs::remove_file(self.home.path().join("rules.hits"));
        self.version.set(self.version.get() + 1);
        let new = self.home.path().join(format!("rules.{}", self.version.get()));
        fs::write(&new, lines).unwrap();
        fs::rename(&new, self.home.path().join("rules")).unwrap();
    }

    /// The calls that a rule was used for.
    pub(crate) fn hits(&self) -> Vec<String> {
        let text = fs::read_to_string(self.home.path().join("rules.hits")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
