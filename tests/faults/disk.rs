//! A disk as it is after a power cut, worked out from the trace of what was done to it.
//!
//! Only what was synced is certain: the bytes of a file by a sync of that file that began after they were written, a
//! name by a sync of its directory (a file that was synced has no durable name by that). Of what was not synced
//! anything may be there: see [`Keep`]. A name is changed or not; there is no half renaming. Sectors have 512 bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use crate::common::Rng;

const SECTOR: u64 = 512;
type Sector = Rc<[u8]>;

/// What is kept of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Nothing,
    Everything,
    /// What was done up to then, in order.
    Until(u64),
    /// So many of a hundred sectors and names, whatever their order. What is lost of a file is what was there before;
    /// with `junk` also bytes of something else.
    Some {
        percent: u64,
        junk: bool,
    },
}

/// How the power went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) bytes: Keep,
    pub(crate) names: Keep,
    pub(crate) salt: u64,
}

impl Cut {
    /// Any, at that position of the trace.
    pub(crate) fn any(rng: &mut Rng, now: u64) -> Self {
        let salt = rng.next();
        let mut any = |junk: bool| match rng.below(8) {
            0 | 1 => Keep::Nothing,
            2 => Keep::Everything,
            3 => Keep::Until(now.saturating_sub(rng.below(60))),
            _ => Keep::Some { percent: [5, 50, 50, 95][rng.index(4)], junk: junk && rng.chance(30) },
        };
        let (bytes, names) = (any(true), any(false));
        // Of an orderly file system: one moment for all.
        let names = if let Keep::Until(_) = bytes { bytes } else { names };
        Self { bytes, names, salt }
    }

    fn dice(&self, keep: Keep, position: u64, more: u64) -> bool {
        match keep {
            Keep::Nothing => false,
            Keep::Everything => true,
            Keep::Until(last) => position <= last,
            Keep::Some { percent, .. } => {
                let seed =
                    self.salt ^ position.wrapping_mul(0x9e37_79b9) ^ more.wrapping_mul(0x85eb_ca6b_c2b2);
                Rng::new(seed).chance(percent)
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: u64, bytes: Rc<[u8]> },
    Zero { at: u64, length: u64 },
    Length(u64),
    Name { name: String, node: usize },
    NoName { name: String, node: usize },
    Renamed { from: String, to: String, node: usize },
}

/// The content of a file; sectors that are not there are zero.
#[derive(Clone, Debug, Default)]
struct Content {
    length: u64,
    sectors: BTreeMap<u64, Sector>,
}

impl Content {
    /// Puts bytes into one sector.
    fn put(&mut self, sector: u64, within: usize, bytes: &[u8]) {
        let mut new = [0; SECTOR as usize];
        if let Some(old) = self.sectors.get(&sector) {
            new.copy_from_slice(old);
        }
        new[within..within + bytes.len()].copy_from_slice(bytes);
        if new == [0; SECTOR as usize] {
            self.sectors.remove(&sector);
        } else {
            self.sectors.insert(sector, Rc::from(new.as_slice()));
        }
    }

    fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.sectors.split_off(&length.div_ceil(SECTOR));
            let within = (length % SECTOR) as usize;
            if within > 0 && self.sectors.contains_key(&(length / SECTOR)) {
                self.put(length / SECTOR, within, &[0; SECTOR as usize][within..]);
            }
        }
        self.length = length;
    }

    /// Makes a change of which each sector is kept or not; `junk` is what a lost one becomes, if anything.
    fn apply(&mut self, change: &Change, kept: impl Fn(u64) -> bool, junk: impl Fn(u64) -> Option<u8>) {
        let (at, length) = match change {
            Change::Write { at, bytes } => (*at, bytes.len() as u64),
            Change::Zero { at, length } => (*at, *length),
            Change::Length(length) => {
                if kept(u64::MAX) {
                    self.set_length(*length);
                }
                return;
            }
            _ => unreachable!("a name in a file"),
        };
        let zeros = [0; SECTOR as usize];
        // A file may be longer without having the bytes.
        let mut end = if kept(u64::MAX) && kept(u64::MAX - 1) { at + length } else { 0 };
        for sector in at / SECTOR..(at + length).div_ceil(SECTOR) {
            let begin = at.max(sector * SECTOR);
            let stop = (at + length).min((sector + 1) * SECTOR);
            let within = (begin - sector * SECTOR) as usize;
            let count = (stop - begin) as usize;
            if kept(sector) {
                let from = (begin - at) as usize;
                let bytes = if let Change::Write { bytes, .. } = change {
                    &bytes[from..from + count]
                } else {
                    &zeros[..count]
                };
                self.put(sector, within, bytes);
                end = end.max(stop);
            } else if let Some(junk) = junk(sector) {
                self.put(sector, within, &[junk; SECTOR as usize][..count]);
            }
        }
        self.length = self.length.max(end);
    }
}

#[derive(Clone, Debug)]
enum Durable {
    File(Content),
    Dir(BTreeMap<String, usize>),
}

#[derive(Clone, Debug)]
struct Node {
    durable: Durable,
    /// What was not synced yet, with the position in the trace.
    pending: Vec<(u64, Change)>,
    /// As the running system sees it.
    length: u64,
    names: BTreeMap<String, usize>,
}

fn change_names(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Name { name, node } => drop(names.insert(name.clone(), *node)),
        Change::NoName { name, node } => {
            if names.get(name) == Some(node) {
                names.remove(name);
            }
        }
        Change::Renamed { from, to, node } => {
            if names.get(from) == Some(node) {
                names.remove(from);
            }
            names.insert(to.clone(), *node);
        }
        _ => unreachable!("bytes in a directory"),
    }
}

/// What the clients say in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Client `.0` is about to send its command number `.1`.
    Sent(usize, usize),
    /// It was answered.
    Answered(usize, usize),
}

impl Said {
    const SENT: u8 = 20;
    const ANSWERED: u8 = 21;

    /// As a record of the trace.
    pub(crate) fn encode(self) -> Vec<u8> {
        let (kind, client, number) = match self {
            Self::Sent(client, number) => (Self::SENT, client, number),
            Self::Answered(client, number) => (Self::ANSWERED, client, number),
        };
        let mut bytes = 21_u32.to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend((client as u64).to_le_bytes());
        bytes.extend((number as u64).to_le_bytes());
        bytes
    }
}

/// The disk at one moment of the trace.
pub(crate) struct Disk {
    nodes: Vec<Node>,
    by_ino: HashMap<u64, usize>,
    /// Syncs that have begun: of which node (`None`: of all), and when.
    syncs: HashMap<u64, (Option<usize>, u64)>,
    /// Whether the program `sync` makes anything durable. It does on Linux; POSIX only has it begin.
    sync_counts: bool,
    pub(crate) now: u64,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> u64 {
        let (number, rest) = self.0.split_at(8);
        self.0 = rest;
        u64::from_le_bytes(number.try_into().unwrap())
    }

    fn path(&mut self) -> &'a str {
        let (length, rest) = self.0.split_at(4);
        let (path, rest) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
        self.0 = rest;
        std::str::from_utf8(path).unwrap()
    }
}

/// The records of a trace, one after the other. What is not whole at the end is left out.
pub(crate) fn records(trace: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = trace;
    while rest.len() > 4 {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let Some(record) = rest.get(4..length) else { break };
        found.push(record);
        rest = &rest[length..];
    }
    found
}

impl Disk {
    /// With what is in a directory, all of it durable.
    pub(crate) fn of(dir: &Path, sync_counts: bool) -> Self {
        let mut disk =
            Self { nodes: Vec::new(), by_ino: HashMap::new(), syncs: HashMap::new(), sync_counts, now: 0 };
        disk.load(dir);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).unwrap();
        let id = self.add(found.ino(), found.is_dir());
        if found.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let node = self.load(&entry.path());
                let change = Change::Name { name: entry.file_name().into_string().unwrap(), node };
                change_names(&mut self.nodes[id].names, &change);
            }
            self.nodes[id].durable = Durable::Dir(self.nodes[id].names.clone());
        } else {
            let bytes = fs::read(path).unwrap();
            let mut content = Content { length: bytes.len() as u64, ..Content::default() };
            for (sector, bytes) in bytes.chunks(SECTOR as usize).enumerate() {
                content.put(sector as u64, 0, bytes);
            }
            self.nodes[id].length = content.length;
            self.nodes[id].durable = Durable::File(content);
        }
        id
    }

    fn add(&mut self, ino: u64, is_dir: bool) -> usize {
        let durable = if is_dir { Durable::Dir(BTreeMap::new()) } else { Durable::File(Content::default()) };
        self.nodes.push(Node { durable, pending: Vec::new(), length: 0, names: BTreeMap::new() });
        self.by_ino.insert(ino, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The directory in which the last name of a path is, and that name.
    fn parent<'a>(&self, path: &'a str) -> (usize, &'a str) {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut dir = 0;
        for name in above.split('/').filter(|name| !name.is_empty()) {
            dir = *self.nodes[dir]
                .names
                .get(name)
                .unwrap_or_else(|| panic!("no {name} of {path} in the trace"));
        }
        (dir, name)
    }

    fn rename(&mut self, dir: usize, change: Change) {
        change_names(&mut self.nodes[dir].names, &change);
        self.nodes[dir].pending.push((self.now, change));
    }

    /// The length that a file has in the trace; longer than here if something made it so that can't be seen.
    fn grown(&mut self, node: usize, length: u64) {
        let now = self.now;
        let node = &mut self.nodes[node];
        assert!(length >= node.length, "the trace has a length of {length}, it should be {}", node.length);
        if length > node.length {
            node.length = length;
            node.pending.push((now, Change::Length(length)));
        }
    }

    /// Makes the next record true. What clients say is handed back.
    pub(crate) fn play(&mut self, record: &[u8]) -> Option<Said> {
        self.now += 1;
        let (kind, rest) = (record[0], &mut Reader(&record[1..]));
        match kind {
            1 | 2 => {
                let ino = rest.number();
                let (dir, name) = self.parent(rest.path());
                let node = self.add(ino, kind == 2);
                self.rename(dir, Change::Name { name: name.to_owned(), node });
            }
            3 | 4 => {
                let node = self.by_ino[&rest.number()];
                let (size, at) = (rest.number(), rest.number());
                self.grown(node, size);
                let change = if kind == 4 {
                    Change::Zero { at, length: rest.number() }
                } else {
                    Change::Write { at, bytes: Rc::from(rest.0) }
                };
                let length = match &change {
                    Change::Write { bytes, .. } => bytes.len() as u64,
                    Change::Zero { length, .. } => *length,
                    _ => 0,
                };
                let now = self.now;
                let node = &mut self.nodes[node];
                node.length = node.length.max(at + length);
                node.pending.push((now, change));
            }
            5 => {
                let node = self.by_ino[&rest.number()];
                let (before, length) = (rest.number(), rest.number());
                self.grown(node, before);
                let now = self.now;
                self.nodes[node].length = length;
                self.nodes[node].pending.push((now, Change::Length(length)));
            }
            6 => {
                let ((from_dir, from), (to_dir, to)) = (self.parent(rest.path()), self.parent(rest.path()));
                let node = self.nodes[from_dir].names[from];
                let (from, to) = (from.to_owned(), to.to_owned());
                if from_dir == to_dir {
                    self.rename(from_dir, Change::Renamed { from, to, node });
                } else {
                    self.rename(from_dir, Change::NoName { name: from, node });
                    self.rename(to_dir, Change::Name { name: to, node });
                }
            }
            7 => {
                rest.number();
                let (dir, name) = self.parent(rest.path());
                let node = self.nodes[dir].names[name];
                self.rename(dir, Change::NoName { name: name.to_owned(), node });
            }
            8 => {
                let (id, ino, size) = (rest.number(), rest.number(), rest.number());
                let node = self.by_ino[&ino];
                if let Durable::File(_) = self.nodes[node].durable {
                    self.grown(node, size);
                }
                self.syncs.insert(id, (Some(node), self.now));
            }
            9 => match self.syncs.remove(&rest.number()) {
                Some((Some(node), began)) => self.nodes[node].sync(began),
                Some((None, began)) => self.nodes.iter_mut().for_each(|node| node.sync(began)),
                None => {}
            },
            10 if self.sync_counts => drop(self.syncs.insert(rest.number(), (None, self.now))),
            10 => {}
            Said::SENT => return Some(Said::Sent(rest.number() as usize, rest.number() as usize)),
            Said::ANSWERED => return Some(Said::Answered(rest.number() as usize, rest.number() as usize)),
            other => panic!("a record of kind {other}"),
        }
        None
    }

    /// Writes what a power cut leaves into an empty directory.
    pub(crate) fn leave(&self, cut: &Cut, to: &Path) {
        self.leave_dir(0, cut, to);
    }

    fn leave_dir(&self, dir: usize, cut: &Cut, to: &Path) {
        let node = &self.nodes[dir];
        let Durable::Dir(durable) = &node.durable else { unreachable!("not a directory") };
        let mut names = durable.clone();
        for (position, change) in &node.pending {
            if cut.dice(cut.names, *position, 0) {
                change_names(&mut names, change);
            }
        }
        for (name, node) in names {
            let path = to.join(name);
            match &self.nodes[node].durable {
                Durable::Dir(_) => {
                    fs::create_dir(&path).unwrap();
                    self.leave_dir(node, cut, &path);
                }
                Durable::File(content) => {
                    let mut content = content.clone();
                    for (position, change) in &self.nodes[node].pending {
                        let kept = |sector| cut.dice(cut.bytes, *position, sector);
                        let junk = |sector: u64| match cut.bytes {
                            Keep::Some { junk: true, .. } if sector % 5 == position % 5 => {
                                Some((sector as u8) | 1)
                            }
                            _ => None,
                        };
                        content.apply(change, kept, junk);
                    }
                    let file = File::create(&path).unwrap();
                    file.set_len(content.length).unwrap();
                    for (sector, bytes) in &content.sectors {
                        let begin = sector * SECTOR;
                        let count = content.length.saturating_sub(begin).min(SECTOR) as usize;
                        file.write_all_at(&bytes[..count], begin).unwrap();
                    }
                }
            }
        }
    }
}

impl Node {
    /// What came before that is durable.
    fn sync(&mut self, began: u64) {
        let later = self.pending.iter().position(|(position, _)| *position > began);
        let later = self.pending.split_off(later.unwrap_or(self.pending.len()));
        for (_, change) in std::mem::replace(&mut self.pending, later) {
            match &mut self.durable {
                Durable::File(content) => content.apply(&change, |_| true, |_| None),
                Durable::Dir(names) => change_names(names, &change),
            }
        }
    }
}
