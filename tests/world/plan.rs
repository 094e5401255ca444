//! What happens in a run: a list of steps, made from a seed. Each step has dice of its own, so that a list from which
//! steps were taken out means the same as before.

use claimlog::io::sim::{CrashStyle, SimRng};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) dice: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A client that is free sends something.
    Send,
    /// Clients whose replies may leave get them.
    Reply,
    /// A reader that waits has waited long enough, or its connection breaks.
    GiveUp,
    /// What the committing task does.
    Commit,
    /// WAITAOF.
    Sync,
    /// What the helper threads do.
    Tick,
    /// Time passes, a little or a lot.
    Time,
    /// The wall clock is set, ahead or back.
    ClockJump,
    /// A snapshot.
    Snapshot,
    /// `CONFIG SET appendfsync`.
    Mode,
    /// An orderly end and a new start.
    Restart,
    /// The process or the machine dies.
    Crash(CrashStyle),
    /// It will, in the middle of something, so many operations of the disk from now.
    CrashSoon(CrashStyle),
    /// A sync of the disk fails, once or from then on.
    FailSync,
    /// A write fails after a part of it.
    FailWrite,
    /// The disk is full, or nearly,
    DiskFull,
    /// and has space again.
    DiskFree,
    /// The store that is unreliable in this run fails after some operations, loses a part, is full, or lost,
    StoreFault,
    /// and is well again.
    StoreWell,
    /// Everything is looked at.
    Look,
    /// All that lies on the disk is read through.
    Verify,
    /// A copy of the disk and the stores rots in one place, or can't be read there, and is opened.
    Rot,
}

/// The steps of a run.
pub(crate) fn plan(seed: u64) -> Vec<Step> {
    let mut rng = SimRng::new(seed);
    let style = |rng: &mut SimRng| CrashStyle::ALL[rng.below(5) as usize];
    // Runs differ in what goes wrong, so that each kind is also there without the others.
    let (crashes, faults, full, stores, jumps) =
        (rng.below(5) > 0, rng.one_in(3), rng.one_in(3), rng.one_in(3), rng.one_in(3));
    let steps = 40 + rng.below(260);
    let one = |_| {
        let what = match rng.below(1000) {
            // What is left of the thousand is for sending.
            360..600 => What::Reply,
            600..620 => What::GiveUp,
            620..760 => What::Commit,
            760..770 => What::Sync,
            770..800 => What::Tick,
            800..860 => What::Time,
            860..880 if jumps => What::ClockJump,
            880..905 => What::Snapshot,
            905..908 => What::Mode,
            908..912 => What::Restart,
            912..924 if crashes => What::Crash(style(&mut rng)),
            924..940 if crashes => What::CrashSoon(style(&mut rng)),
            940..945 if faults => What::FailSync,
            945..950 if faults => What::FailWrite,
            950..960 if full => What::DiskFull,
            960..970 if full => What::DiskFree,
            970..980 if stores => What::StoreFault,
            980..985 if stores => What::StoreWell,
            985..992 => What::Look,
            992..996 => What::Rot,
            996..999 => What::Verify,
            _ => What::Send,
        };
        Step { what, dice: rng.next_u64() }
    };
    (0..steps).map(one).collect()
}
