//! What a server process takes: memory, descriptors, disk.

use std::path::Path;

use super::Server;

/// What a process takes now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) descriptors: u64,
    pub(crate) log_bytes: u64,
    pub(crate) snapshot_bytes: u64,
}

impl Usage {
    pub(crate) fn of(server: &Server) -> Self {
        let pid = server.child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Self {
            resident_bytes: kib.unwrap_or(0) * 1024,
            descriptors: descriptors as u64,
            log_bytes: bytes_below(&server.dir.join("log")),
            snapshot_bytes: bytes_below(&server.dir.join("snapshot")),
        }
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.log_bytes + self.snapshot_bytes
    }

    /// The larger of both in everything.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            descriptors: self.descriptors.max(other.descriptors),
            log_bytes: self.log_bytes.max(other.log_bytes),
            snapshot_bytes: self.snapshot_bytes.max(other.snapshot_bytes),
        }
    }
}

/// The bytes of the files in a folder and in those within it.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .map(|file| match file.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&file.path()),
            Ok(metadata) => metadata.len(),
            // It went meanwhile.
            Err(_) => 0,
        })
        .sum()
}
