//! Records to bytes and back: one batch, as one command makes it. Without checksums and frames.

use std::hint::black_box;

use claimlog::record::codec::{BatchBytes, records};
use claimlog::record::{Blob, ClaimedRow, Cursor, GroupAt, Record, StreamAt};
use claimlog::{ConsumerNo, DbNo, EntryId, StreamNo};
use criterion::{Criterion, Throughput};

/// A millisecond of our days: small numbers would be shorter.
const NOW_MS: u64 = 1_790_000_000_000;

fn stream() -> StreamAt {
    StreamAt { db: DbNo::new(1), no: StreamNo::new(300) }
}

fn group() -> GroupAt<'static> {
    GroupAt { stream: stream(), name: Blob::from(&b"workers"[..]) }
}

fn ids(count: u64) -> impl Iterator<Item = EntryId> {
    (0..count).map(|seq| EntryId::new(NOW_MS, seq))
}

fn added(fields: &[u8]) -> Record<'_> {
    Record::EntryAdded {
        stream: stream(),
        id: EntryId::new(NOW_MS, 7),
        opens_node: false,
        fields: fields.into(),
    }
}

fn delivered(count: u64) -> Record<'static> {
    let cursor = Cursor { last_delivered_id: EntryId::new(NOW_MS, count), entries_read: Some(70_000) };
    let ids = ids(count).collect();
    Record::Delivered { group: group(), consumer: ConsumerNo::new(5), at_ms: NOW_MS, ids, cursor }
}

fn claimed(count: u64) -> Record<'static> {
    let row = |id| ClaimedRow { id, delivered_ms: NOW_MS, delivery_count: 2 };
    let rows = ids(count).map(row).collect();
    Record::Claimed { group: group(), consumer: ConsumerNo::new(5), rows, active_ms: Some(NOW_MS) }
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let small = [7; 32];
    let large = [7; 1024];
    let kinds = [
        ("entry of 32 bytes", added(&small)),
        ("entry of 1 KiB", added(&large)),
        ("delivery of 1", delivered(1)),
        ("delivery of 100", delivered(100)),
        ("claim of 1", claimed(1)),
        ("claim of 100", claimed(100)),
    ];
    for (name, record) in kinds {
        let mut batch = BatchBytes::default();
        batch.push(&record);
        let bytes = batch.bytes().to_vec();
        let mut group = criterion.benchmark_group("record");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                batch.clear();
                batch.push(black_box(&record));
            });
        });
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| {
                let decoded = records(black_box(&bytes)).expect("the count is there");
                decoded.for_each(|record| drop(black_box(record.expect("a record"))));
            });
        });
    }
}
