//! A digest over what the state says, not over how its pages are laid out: two states with equal digests answer
//! every request alike.

use xxhash_rust::xxh3::Xxh3;

use super::State;
use super::dedup::Dedup;
use super::group::Group;
use super::stream::Stream;
use crate::id::{ConsumerNo, EntryId};
use crate::record::Cursor;

/// Collects what is to be compared, each part with its length or of fixed size, so that no two contents look alike.
struct Digest(Xxh3);

impl Digest {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn option(&mut self, number: Option<u64>) {
        self.number(u64::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn id(&mut self, id: EntryId) {
        self.number(id.ms);
        self.number(id.seq);
    }

    fn cursor(&mut self, cursor: Cursor) {
        self.id(cursor.last_delivered_id);
        self.option(cursor.entries_read);
    }
}

impl State {
    /// The digest of the whole content. Takes time with its size; pages that are away are not in it.
    pub(crate) fn digest(&self) -> u128 {
        let mut digest = Digest(Xxh3::new());
        digest.number(self.applied.get());
        digest.number(self.next_db.get());
        digest.number(self.next_stream.get());
        digest.number(self.next_consumer.get());
        for database in &self.databases {
            digest.number(database.no().get());
            digest.number(database.key_count());
            // Their order is another one in each store.
            let mut names: Vec<_> = database.names().collect();
            names.sort_unstable();
            names.into_iter().for_each(|name| digest.bytes(name));
            database.streams().for_each(|stream| stream_digest(&mut digest, stream));
        }
        digest.0.digest128()
    }
}

fn stream_digest(digest: &mut Digest, stream: &Stream) {
    digest.number(stream.no.get());
    digest.bytes(&stream.name);
    digest.id(stream.last_id);
    digest.id(stream.max_deleted_id);
    digest.number(stream.entries_added);
    digest.option(stream.expires_ms);
    dedup_digest(digest, &stream.dedup);
    digest.number(stream.entries.len());
    // Where nodes end decides what `~` trimming removes, and what was put into them decides where they end: so it is
    // content.
    let nodes = stream.entries.for_each_node(|numbers, last_id| {
        numbers.into_iter().for_each(|number| digest.number(number));
        digest.id(last_id);
    });
    digest.number(u64::from(nodes.is_ok()));
    let entries = stream.entries.for_each(|id, fields| {
        digest.id(id);
        digest.bytes(fields.packed());
    });
    digest.number(u64::from(entries.is_ok()));
    digest.number(stream.group_count());
    stream.groups().for_each(|group| group_digest(digest, group));
}

fn dedup_digest(digest: &mut Digest, dedup: &Dedup) {
    digest.number(dedup.config.duration_secs);
    digest.number(dedup.config.maxsize);
    digest.number(dedup.added);
    digest.number(dedup.duplicates);
    for row in dedup.rows() {
        digest.bytes(&row.producer);
        digest.bytes(&row.iid);
        digest.id(row.id);
        digest.number(row.at_ms);
    }
}

fn group_digest(digest: &mut Digest, group: &Group) {
    digest.bytes(&group.name);
    digest.cursor(group.cursor);
    digest.number(group.consumer_count());
    for consumer in group.consumers() {
        digest.bytes(&consumer.name);
        digest.number(consumer.no.get());
        digest.number(consumer.created_ms);
        digest.option(consumer.active_ms);
        digest.number(group.pending.owned_count(consumer.no));
    }
    digest.number(group.pending.len());
    for row in group.pending.rows() {
        digest.id(row.id);
        digest.option(row.owner().map(ConsumerNo::get));
        digest.number(row.delivered_ms());
        digest.number(row.delivery_count);
    }
    // The order in which they were released decides who gets them first.
    group.pending.released().for_each(|id| digest.id(id));
}
