//! The real server on real sled and a real directory, with a shim under it (`shim.c`) that makes calls to the file system
//! fail, hang, lie or end the process, and that writes down what is done, so that power cuts can be worked out.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "long tests say what they did, and skipped ones why")]

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod disk;
mod kills;
mod load;
mod log;
mod opening;
mod powercut;
mod shim;
mod snapshots;

use std::fs;
use std::path::Path;

/// Copies what is in a directory; holes stay holes.
fn copy_tree(from: &Path, to: &Path) {
    assert!(try_copy_tree(from, to));
    assert!(fs::metadata(to).is_ok());
}

/// The same, where somebody may remove or rename files meanwhile: says whether nobody did.
fn try_copy_tree(from: &Path, to: &Path) -> bool {
    let mut copy = std::process::Command::new("cp");
    copy.args(["-a", "--sparse=always"]).arg(from.join(".")).arg(to).status().unwrap().success()
}
