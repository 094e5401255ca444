//! The server's settings: where they come from is the command line's business, who may change them CONFIG's.

use std::net::IpAddr;
use std::path::PathBuf;

use claimlog::engine::SyncMode;

/// The server's settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) port: u16,
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) dir: PathBuf,
    pub(crate) sync_mode: SyncMode,
    /// How many snapshots are kept, each in a place of its own.
    pub(crate) snapshot_copies: u8,
    /// A snapshot is taken when the log has grown by so much.
    pub(crate) snapshot_log_bytes: u64,
    /// Asked of every client where set.
    pub(crate) password: Option<String>,
    /// The most clients at a time.
    pub(crate) clients_max: u32,
    /// The longest argument of a request.
    pub(crate) bulk_bytes_max: u64,
    /// Clients idle for longer are closed; 0: never.
    pub(crate) idle_secs_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            dir: "./claimlog-data".into(),
            sync_mode: SyncMode::Always,
            snapshot_copies: 2,
            snapshot_log_bytes: 64 * 1024 * 1024,
            password: None,
            clients_max: 10_000,
            bulk_bytes_max: 512 * 1024 * 1024,
            idle_secs_max: 0,
        }
    }
}

/// The name of a mode in `appendfsync`.
pub(crate) fn sync_mode_name(mode: SyncMode) -> &'static str {
    match mode {
        SyncMode::Always => "always",
        SyncMode::EverySecond => "everysec",
        SyncMode::No => "no",
    }
}

/// The mode of that name.
pub(crate) fn sync_mode(name: &str) -> Option<SyncMode> {
    match name.to_ascii_lowercase().as_str() {
        "always" => Some(SyncMode::Always),
        "everysec" => Some(SyncMode::EverySecond),
        "no" => Some(SyncMode::No),
        _ => None,
    }
}
