//! What the system knows of the server.

use std::fs;
use std::io;
use std::time::Duration;

use super::client::Client;

pub(crate) struct Process(u64);

impl Process {
    /// The process that a client is connected to.
    pub(crate) async fn of(client: &mut Client) -> io::Result<Self> {
        Ok(Self(client.info("server", "process_id").await?))
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the server's VmRSS is not known"))
    }

    /// The processor time of all its threads.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // One that ended meanwhile is not counted.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(total))
    }
}
