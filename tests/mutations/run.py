#!/usr/bin/env python3
"""Breaks claimlog on purpose, one promise at a time, and says which test notices and after how long.

    tests/mutations/run.py              # all of them, in a copy of the tree: about half an hour
    tests/mutations/run.py sync claim   # those with these words in their names
    tests/mutations/run.py --check      # only whether each still fits the source (a test of .ci/run)

A mutation that survives is a promise without a test. The copy and its build are in target/mutations/.
"""
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPY = os.path.join(ROOT, "target", "mutations", "tree")
BUILD = os.path.join(ROOT, "target", "mutations", "build")

# The simulation of everything: 300 fixed seeds, then new ones. What it finds is not cut down, to save time.
WORLD = "CLAIMLOG_WORLD_SHRINK=0 CLAIMLOG_WORLD_SECONDS=60 cargo test --no-default-features --test world -- --nocapture"
SIM = "cargo test --no-default-features --test sim {}"
WAL = "cargo test --no-default-features --test wal"
STORM = "CLAIMLOG_STORM_SECONDS=60 cargo test --no-default-features --test storm"
SERVER = "cargo test --test {} {}"

# Name, promise, file, what stands there, what is put in its place, the test that must fail.
MUTATIONS = [
    ("a commit is answered without a sync", "I1", "src/wal/writer.rs",
     "            self.fate.sync(&*self.file, &self.dir)?;\n            *self.sync_time",
     "            *self.sync_time", WORLD),
    ("a reply waits for nothing", "I1", "src/engine/mod.rs",
     "            let after = core.finish(now_ms);\n            self.leave(core);\n            return Ticket { result, after };",
     "            core.finish(now_ms);\n            self.leave(core);\n            return Ticket { result, after: Seq::ZERO };", WORLD),
    ("a reader that waited is answered before its delivery is on disk", "I1", "src/engine/core.rs",
     "        let after = self.state.applied();\n        self.waiters.serve(id,",
     "        let after = Seq::ZERO;\n        self.waiters.serve(id,", WORLD),
    ("the segment before is not synced when the next begins", "I4", "src/wal/writer.rs",
     "                    // IMPORTANT: only the last segment may be torn.\n                    self.sync()?;",
     "", WAL),
    ("an opening does not sync the directory after its rename", "I4", "src/wal/open.rs",
     "            .and_then(|()| self.log_dir.sync())\n            .map_err(while_opening(\"naming", "            .map_err(while_opening(\"naming", WORLD),
    ("an opening does not sync its segment before the rename", "I4", "src/wal/zeros.rs",
     "        file.sync_data()?;\n", "", WORLD),
    ("an opening forgets the tail that nothing proves", "I4", "src/wal/open.rs",
     "f.header.first_seq > end.seq && f.header.batches > 0", "f.header.first_seq > end.seq && f.header.batches > 9", WORLD),
    ("a frame's payload is not checked", "I7", "src/wal/frame.rs",
     "    if FrameHeader::crc_of_payload(place, header.offset, payload) != header.payload_crc {",
     "    if false {", WORLD),
    ("a frame that ends the log early is taken for torn, whatever a mark says", "I7", "src/wal/open.rs",
     "            if mark >= found.next_seq {", "            if false && mark >= found.next_seq {", WAL),
    ("a log that ends before a snapshot is taken for whole", "I7", "src/wal/open.rs",
     "        if self.proven >= found.next_seq {", "        if false {",
     SIM.format("snapshots")),
    ("cut too much: one segment more than the snapshots have", "I4", "src/wal/writer.rs",
     "        let count = unneeded.map_or(0, |at| at + 1);",
     "        let count = unneeded.map_or(0, |at| (at + 2).min(sure.saturating_sub(1)));", WORLD),
    ("cut too little: segments are never given up", "I10", "src/wal/writer.rs",
     "        let count = unneeded.map_or(0, |at| at + 1);",
     "        let count = unneeded.map_or(0, |_| 0);", SIM.format("snapshots")),
    ("cut by the newer store", "I4", "src/engine/snapshotter.rs",
     "self.slots.iter().map(safe).min().unwrap_or(Seq::ZERO)",
     "self.slots.iter().map(safe).max().unwrap_or(Seq::ZERO)", SIM.format("crash")),
    ("a snapshot does not wait for the log", "I4", "src/engine/snapshotter.rs",
     "        while self.progress.durable() < seq {", "        while self.progress.durable() < Seq::ZERO {", WORLD),
    ("a snapshot's root is written before its parts are flushed", "I4", "src/engine/turn.rs",
     "        store.flush()?;\n        let root = self.root(", "        let root = self.root(", SIM.format("crash")),
    ("what was written to a snapshot is not read back", "I7", "src/engine/turn.rs",
     "        self.verify(store, &root, &written)?;\n", "", SIM.format("snapshots")),
    ("applied before there is room", "I9", "src/engine/core.rs",
     "        if let Err(halt) = self.has_room(used_for) {\n            self.batch.truncate(mark);\n            return Err(halt);\n        }\n",
     "", WORLD),
    ("a full log still delivers", "I9", "src/engine/core.rs",
     "            Room::Full => Err(Halt::Error(Refusal::LogFull { why: log.no_room() }.into())),",
     "            Room::Full if used_for == Use::Frees => Ok(()),\n            Room::Full => Err(Halt::Error(Refusal::LogFull { why: log.no_room() }.into())),", WORLD),
    ("a failed sync is tried again", "I8", "src/engine/commit.rs",
     "            Err(error @ Error::Failed(_)) => {\n                self.fail(&error);\n                return Err(error);\n            }",
     "            Err(error @ Error::Failed(_)) => return Err(error),", WORLD),
    ("a claim forgets the delivery count", "I4", "src/state/apply.rs",
     "Pending::owned(row.id, owner, row.delivered_ms, row.delivery_count);",
     "Pending::owned(row.id, owner, row.delivered_ms, row.delivery_count.min(1));", WORLD),
    ("a release forgets whose it is no longer", "I6", "src/state/apply.rs",
     "            rows.iter().try_for_each(|row| group.pending.release(row.id, row.delivery_count, stamp))",
     "            rows.iter().skip(1).try_for_each(|row| group.pending.release(row.id, row.delivery_count, stamp))", WORLD),
    ("deliveries repeated from history are not recorded", "I4", "src/op/xreadgroup.rs",
     "            records.push(Record::Claimed { group: group_at.clone(), consumer, rows, active_ms: None });",
     "", WORLD),
    ("two readers get one entry", "I6", "src/state/apply.rs",
     "            group.cursor = cursor;\n            if !ids.is_empty() {",
     "            if ids.len() != 1 {\n                group.cursor = cursor;\n            }\n            if !ids.is_empty() {", WORLD),
    ("a waiter is lost", "I2", "src/engine/core.rs",
     "                    Tried::Served | Tried::Dry => {}", "                    Tried::Served | Tried::Dry => return true,", WORLD),
    ("readers are not told when their group goes", "I2", "src/engine/touched.rs",
     "Record::GroupDestroyed { group } => (of(group.stream, false, ByAll), None),",
     "Record::GroupDestroyed { group } => (of(group.stream, false, ByClaims), None),", WORLD),
    ("numbers of batches are used again after an opening", "I5", "src/wal/open.rs",
     "            first_seq: past.end.seq.next(),", "            first_seq: past.end.seq,", WORLD),
    ("an id is given out again after the clock went back", "I5", "src/op/xadd.rs",
     "            NewId::Auto if now_ms > last_id.ms => EntryId::new(now_ms, 0),",
     "            NewId::Auto if now_ms != last_id.ms => EntryId::new(now_ms, 0),", WORLD),
    ("a transaction is written in two parts", "I3", "src/engine/transaction.rs",
     "        self.core.step(op, self.now_ms).map_err(", "        let done = self.core.step(op, self.now_ms);\n        self.core.finish(self.now_ms);\n        done.map_err(", WORLD),
    ("an idempotent id is forgotten too soon", "I4", "src/op/xadd.rs",
     "                at_ms: view.now_ms,\n                counted: true,",
     "                at_ms: view.now_ms.saturating_sub(99_999),\n                counted: true,", WORLD),
    ("unverified parts are served", "I7", "src/snapshot/chunk.rs",
     "        if u32::from_le_bytes(array(&head[CRC_AT..])) != crc(owner, &self.key(chunk), total, piece) {",
     "        if false {", "cargo test --no-default-features --lib chunk"),
    ("what was synced once a second is never proven", "I7", "src/engine/commit.rs",
     "        self.bell.committed();\n        self.progress.publish(Seq::ZERO, durable);",
     "        self.progress.publish(Seq::ZERO, durable);", SERVER.format("faults", "silence_proves")),
    ("who was unblocked waits on", "Redis", "src/command/call.rs",
     "            Door::Engine(_) => client.end_reading(Waiting::give_up),",
     "            Door::Engine(_) => true,", SERVER.format("server", "blocked")),
    ("who was killed waits on", "Redis", "src/command/session.rs",
     "            Some(Reading::Waiting(waiting)) => match give_up(waiting) {",
     "            Some(Reading::Waiting(waiting)) if !self.killed.get() => (Some(Reading::Waiting(waiting)), true),\n"
     "            Some(Reading::Waiting(waiting)) => match give_up(waiting) {", SERVER.format("server", "blocked")),
    ("what is gone below a deleted id is passed over", "Redis", "src/op/xautoclaim.rs",
     "stream.doubtful_through()", "stream.put_back_from", SIM.format("what_is_passed_over")),
    ("idle segments stay where STORE has no room", "I9", "src/wal/open.rs",
     "            Err(e) if is_full(&e) && !idle.is_empty() => {",
     "            Err(e) if false && is_full(&e) && !idle.is_empty() => {", WAL),
    ("an attempt to write STORE leaves what it began", "I9", "src/wal/store_file.rs",
     "            let _ = dir.remove(UNFINISHED_NAME);", "", "cargo test --features sim --lib store_file"),
    ("each store sorts names alike", "security", "src/recovery.rs",
     "    xxh3_64(store.bytes())", "    store.bytes().len() as u64", SIM.format("model")),
    ("whoever needs a segment waits for one that is made at leisure", "I9", "src/wal/spares.rs",
     "        if awaited || self.waiting.load(Ordering::Relaxed) > 0 {", "        if awaited {",
     "cargo test --no-default-features --features sim --lib commits_come_first"),
    ("a closed log goes on with its segment", "I9", "src/wal/spares.rs",
     "        if self.closing.load(Ordering::Relaxed) {", "        if false {",
     "cargo test --no-default-features --features sim --lib commits_come_first"),
    ("a panic in the thread that commits is told to nobody", "I8", "src/engine/helper.rs",
     "    if panicked && let Some(shared)", "    if false && let Some(shared)", SIM.format("faults")),
    ("a whole snapshot is removed for one that nobody has read", "I7", "src/engine/turn.rs",
     "slot.root.is_some() && slot.verified;", "slot.root.is_some();", SIM.format("snapshots")),
    ("old segments stay where a snapshot has no room", "I9", "src/engine/room.rs",
     "            || (self.spares.give_up_old() && there_is_room())\n", "", SIM.format("snapshots")),
    ("old segments stay where an opening has no room", "I9", "src/wal/open.rs",
     "        self.dead = self.dead.checked_sub(1)?;", "        self.dead = 0_usize.checked_sub(1)?;", SIM.format("snapshots")),
    ("an old segment that could not be opened is forgotten", "I9", "src/wal/spares.rs",
     "                    Source::Old(old) => work.old.keep(old),", "                    Source::Old(_) => {}",
     "cargo test --no-default-features --features sim --lib wal::spares"),
    ("a drop is told to nobody", "I8", "src/engine/progress.rs",
     "        self.end(Error::Closed);\n", "", "cargo test --no-default-features --test threads"),
    ("a failure is not told to those who wait asynchronously", "I8", "src/engine/commit.rs",
     "        self.progress.end(error.clone());\n        self.group_commit.end();\n        then.run();",
     "        self.group_commit.end();\n        then.run();", STORM),
    ("threads that lead each other's commits are answered without a sync", "I1", "src/wal/writer.rs",
     "            self.fate.sync(&*self.file, &self.dir)?;\n            *self.sync_time", "            *self.sync_time", STORM),
]


def fits(path, old):
    with open(os.path.join(ROOT, path)) as source:
        return source.read().count(old)


def check():
    wrong = [
        f"{name}: what it replaces stands {count} times in {path}"
        for name, _, path, old, _, _ in MUTATIONS
        if (count := fits(path, old)) != 1
    ]
    print("\n".join(wrong) or f"{len(MUTATIONS)} mutations fit the source")
    return not wrong


def copy_tree():
    shutil.rmtree(COPY, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, files):
        target = os.path.join(COPY, name.decode())
        source = os.path.join(ROOT, name.decode())
        if os.path.isfile(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target)


def build_of(command):
    return re.sub(r"( --)? --nocapture| -- .*", "", command) + " --no-run"


def shell(command):
    environment = {**os.environ, "CARGO_TARGET_DIR": BUILD, "RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run(command, shell=True, cwd=COPY, env=environment, timeout=900,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        return 124, "it hangs"


def try_one(name, promise, path, old, new, command):
    target = os.path.join(COPY, path)
    with open(target) as source:
        whole = source.read()
    try:
        with open(target, "w") as source:
            source.write(whole.replace(old, new))
        status, said = shell("RUSTFLAGS=-Awarnings " + build_of(command))
        if status != 0:
            return "DOES NOT BUILD", "\n".join(line for line in said.splitlines() if line.startswith("error"))
        began = time.monotonic()
        status, said = shell("RUSTFLAGS=-Awarnings " + command)
        seconds = time.monotonic() - began
    finally:
        with open(target, "w") as source:
            source.write(whole)
    if status == 0:
        return "SURVIVED", f"{seconds:.0f} s"
    tests = ", ".join(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. FAILED", said, re.M)) or "it hangs"
    seed = re.search(r"CLAIMLOG_SEED=(\d+)", said)
    return "caught", f"{tests}, {seconds:.1f} s" + (f", seed {seed[1]}" if seed else "")


def main(words):
    if words == ["--check"]:
        return check()
    if not check():
        return False
    chosen = [one for one in MUTATIONS if not words or any(word in one[0] for word in words)]
    copy_tree()
    survived = 0
    for one in chosen:
        outcome, how = try_one(*one)
        survived += outcome != "caught"
        print(f"| {one[0]} | {one[1]} | {outcome}: {how} |", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} caught")
    return survived == 0


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
