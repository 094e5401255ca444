//! A server that can be killed, and checks that end the program.

use std::error::Error;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

pub struct Server {
    pub port: u16,
    dir: TempDir,
    process: Child,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let port = free_port();
        let dir = tempfile::Builder::new().prefix("clients-").tempdir()?;
        let mut server = Self { port, process: spawn(port, &dir)?, dir };
        server.wait()?;
        Ok(server)
    }

    /// No warning, no chance to write anything down; then again on the same directory.
    pub fn crash(&mut self) -> Outcome {
        if std::env::var("CLAIMLOG_CLIENTS_SELF").is_ok_and(|spared| spared == "1") {
            return Ok(());
        }
        self.process.kill()?;
        self.process.wait()?;
        self.process = spawn(self.port, &self.dir)?;
        self.wait()
    }

    fn wait(&mut self) -> Outcome {
        let begin = Instant::now();
        while !pong(self.port).unwrap_or(false) {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the server ended with {status} instead of serving").into());
            }
            if begin.elapsed() > Duration::from_secs(20) {
                return Err("the server does not answer".into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// None of those that the kernel gives out itself: while the server is down, a connection that looks for it could get
/// its port.
fn free_port() -> u16 {
    let ports = (0..).map(|_| 10_000 + (RandomState::new().hash_one(()) % 22_000) as u16);
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap_or_default()
}

fn spawn(port: u16, dir: &TempDir) -> Outcome<Child> {
    // A redis-server to run instead of claimlog.
    let redis = std::env::var("CLAIMLOG_CLIENTS_REDIS").ok();
    let options = if redis.is_some() { &["--save", ""][..] } else { &["serve"] };
    let mut command = Command::new(redis.map_or_else(|| std::env::var("CLAIMLOG_BINARY"), Ok)?);
    command.args(options);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir.path());
    Ok(command.stdout(Stdio::null()).spawn()?)
}

fn pong(port: u16) -> Outcome<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    Ok(&reply == b"+PONG\r\n")
}

pub fn check<T: Debug + PartialEq>(what: &str, got: T, want: T) -> Outcome {
    if got != want {
        return Err(format!("MISMATCH: {what}\n    is      {got:?}\n    must be {want:?}").into());
    }
    println!("    {what}");
    Ok(())
}
