//! Server processes that die with the test.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Client, Value};

/// Which program to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Claimlog,
    Redis,
}

/// How to start it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) kind: Kind,
    /// A directory that outlives the process; `None`: one of its own that vanishes with it.
    pub(crate) dir: Option<PathBuf>,
    /// claimlog's `--appendfsync`; for Redis, `no` also means that nothing is written at all.
    pub(crate) appendfsync: &'static str,
    /// More options for claimlog.
    pub(crate) more: Vec<String>,
    /// `ulimit -n` for claimlog.
    pub(crate) descriptors: Option<u32>,
    /// More environment for claimlog.
    pub(crate) env: Vec<(String, OsString)>,
}

impl Options {
    pub(crate) fn new(kind: Kind) -> Self {
        let appendfsync = if kind == Kind::Redis { "no" } else { "always" };
        Self { kind, dir: None, appendfsync, more: Vec::new(), descriptors: None, env: Vec::new() }
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    pub(crate) fn appendfsync(mut self, mode: &'static str) -> Self {
        self.appendfsync = mode;
        self
    }

    /// May have no more than so many files open.
    pub(crate) fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// With one more variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// With one more option of claimlog.
    pub(crate) fn with(mut self, option: &str, value: &str) -> Self {
        self.more.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// The process, without waiting for it.
    pub(crate) fn spawn(&self) -> Server {
        let port = free_port();
        // On the disk that is built on, never on a tmpfs: durability is what we are here for.
        let own = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = self.dir.clone().unwrap_or_else(|| own.path().join("data"));
        let output = own.path().join("output");
        let out = File::create(&output).unwrap();
        let mut command = match self.kind {
            Kind::Claimlog => {
                let program = env!("CARGO_BIN_EXE_claimlog");
                let mut command = Command::new(if self.descriptors.is_some() { "sh" } else { program });
                if let Some(most) = self.descriptors {
                    command.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\""), program]);
                }
                command.args(["serve", "--bind", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--appendfsync", self.appendfsync]).arg("--dir").arg(&dir).args(&self.more);
                for name in ["CLAIMLOG_PORT", "CLAIMLOG_DIR", "CLAIMLOG_BIND", "CLAIMLOG_APPENDFSYNC"] {
                    command.env_remove(name);
                }
                command.envs(self.env.iter().map(|(name, value)| (name, value)));
                command
            }
            Kind::Redis => {
                std::fs::create_dir_all(&dir).unwrap();
                let mut command = Command::new(redis_server().expect("a redis-server"));
                command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
                // Its timeouts are looked at on a tick: 100 ms by default, 2 ms here.
                command.args(["--enable-debug-command", "yes", "--hz", "500"]).arg("--dir").arg(&dir);
                let log = if self.appendfsync == "no" { "no" } else { "yes" };
                command.args(["--appendonly", log, "--appendfsync", self.appendfsync]);
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {:?}: {e}", self.kind));
        Server { kind: self.kind, port, dir, child, output, _own: own }
    }

    /// The process, answering.
    pub(crate) fn start(&self) -> Server {
        // Another process may take the free port before ours does: then the child exits and we try again.
        let mut last = String::new();
        for _ in 0..3 {
            let mut server = self.spawn();
            match server.wait_until_ready(Duration::from_secs(20)) {
                Ok(()) => return server,
                Err(e) => last = e,
            }
        }
        panic!("{:?} does not start: {last}", self.kind)
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
    pub(crate) child: Child,
    output: PathBuf,
    _own: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        Options::new(kind).start()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
            .unwrap_or_else(|e| panic!("{:?} refuses: {e}\n{}", self.kind, self.output()))
    }

    /// What the process has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    pub(crate) fn wait_until_ready(&mut self, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        loop {
            // Another process may have got the port that was free.
            let says = match self.kind {
                Kind::Claimlog => "listening on",
                Kind::Redis => "Ready to accept connections",
            };
            let ours = self.output().contains(says);
            if ours
                && let Ok(mut client) = Client::connect(self.port)
                && client.call(&["PING"]).is_ok_and(|reply| reply == Value::Simple(b"PONG".to_vec()))
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("it ended with {status}:\n{}", self.output()));
            }
            if Instant::now() > end {
                return Err(format!("no PONG within {patience:?}:\n{}", self.output()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Any other signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(done.unwrap().success());
    }

    /// The same, for a process that may have ended on its own.
    pub(crate) fn signal_if_alive(&mut self, name: &str) {
        // Until it is waited for, nobody else gets its number.
        if self.is_alive() {
            let _ = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).output();
        }
    }

    pub(crate) fn wait_exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback port that was free a moment ago, and that nobody gets who asks the kernel for any: neither a connection
/// nor a server on port 0 can be there before ours is, or while it is down.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().hash_one(());
        let port = u16::try_from(10_000 + random % 22_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The redis-server of `CLAIMLOG_TEST_REDIS` or of the PATH, if there is one.
pub(crate) fn redis_server() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CLAIMLOG_TEST_REDIS") {
        return Some(PathBuf::from(path)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|path| path.exists())
}

/// Its version, such as "7.0.15".
pub(crate) fn redis_version() -> Option<String> {
    let output = Command::new(redis_server()?).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}
