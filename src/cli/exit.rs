//! Exit codes. Scripts rely on them: a meaning never changes.

/// Ended as told to (SIGTERM, SIGINT, SHUTDOWN).
pub(crate) const CLEAN: u8 = 0;
/// The data could not be opened: damage, a newer format, a disk that fails.
pub(crate) const NOT_OPENED: u8 = 1;
/// The command line or the configuration file makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Another process has the data directory.
pub(crate) const IN_USE: u8 = 3;
/// The log failed while serving; opening again recovers.
pub(crate) const LOG_FAILED: u8 = 4;
/// An address can't be listened on, or the server could not be set up.
pub(crate) const NOT_LISTENING: u8 = 5;

/// The end of `--help`.
pub(crate) const HELP: &str = "\
Examples:
  claimlog                                     127.0.0.1:6379, data in ./claimlog-data
  claimlog serve --port 7000 --dir /var/lib/claimlog
  claimlog serve --appendfsync everysec        faster, may lose the last second
  CLAIMLOG_REQUIREPASS=secret claimlog serve --bind 0.0.0.0
  redis-cli -p 6379 XADD jobs '*' task resize  any Redis client will do

Exit codes:
  0  ended as told to (SIGTERM, SIGINT, SHUTDOWN)
  1  the data could not be opened: damage, a newer format, a failing disk
  2  the command line or the configuration file makes no sense
  3  another process has the data directory
  4  the log failed while serving: start again to recover
  5  an address could not be listened on, or the server could not be set up";
