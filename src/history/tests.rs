//! Histories that may be, and histories that may not.

use super::*;

/// A history that is written down in few words.
struct Tale {
    history: History,
    now_ms: u64,
}

const KEY: &str = "jobs";

impl Tale {
    fn new() -> Self {
        let mut tale = Self { history: History::new(Rules::default()), now_ms: 1000 };
        tale.told("setup", Op::CreateGroup { key: KEY.into(), group: "g".into(), at: None }, Outcome::Ok);
        tale
    }

    fn call(&mut self, client: &str, op: Op) -> CallId {
        self.now_ms += 1;
        self.history.call(client, op, self.now_ms)
    }

    fn answer(&mut self, call: CallId, told: Outcome) {
        self.now_ms += 1;
        self.history.answer(call, told, self.now_ms);
    }

    fn told(&mut self, client: &str, op: Op, told: Outcome) {
        let call = self.call(client, op);
        self.answer(call, told);
    }

    fn crash(&mut self, crash: Crash) {
        self.now_ms += 1;
        self.history.crash(crash, self.now_ms);
    }

    /// The stream has these entries, given by number, and these pending ones: number, owner, count. The group has been
    /// read up to the last of these numbers.
    fn found(&mut self, entries: &[u64], pending: &[(u64, &str, u64)], read: u64) {
        let mut stream = Stream {
            entries: entries.iter().map(|n| (id(*n), token(*n))).collect(),
            last_id: entries.last().map_or(EntryId::MIN, |n| id(*n)),
            added: entries.len() as u64,
            ..Stream::default()
        };
        let last_id = if read == 0 { EntryId::MIN } else { id(read) };
        let mut group = Group { last_id, ..Group::default() };
        for (n, owner, count) in pending {
            group.consumers.insert((*owner).into());
            let row =
                Row { owner: Some((*owner).into()), count: *count, delivered: Window::exactly(self.now_ms) };
            group.pending.insert(id(*n), row);
        }
        stream.groups.insert("g".into(), group);
        self.history.observe(KEY, Some(stream), self.now_ms);
    }

    fn possible(mut self) {
        if let Err(finding) = self.history.check() {
            panic!("{finding}");
        }
    }

    fn impossible(mut self, because: &str) {
        let finding = self.history.check().expect_err("this can't be");
        assert!(!finding.given_up);
        assert!(finding.to_string().contains(because), "{finding}");
    }
}

fn id(n: u64) -> EntryId {
    EntryId::new(n, 0)
}

fn token(n: u64) -> Name {
    format!("job-{n}").into()
}

fn add(n: u64) -> Op {
    Op::Add { key: KEY.into(), id: None, token: token(n), keep: None, once: None }
}

fn read_op(consumer: &str, waits: bool) -> Op {
    Op::Read(Read {
        key: KEY.into(),
        group: "g".into(),
        consumer: consumer.into(),
        count: 10,
        no_ack: false,
        claim_idle_ms: None,
        waits,
    })
}

fn seen(numbers: &[u64]) -> Outcome {
    let seen = |n: &u64| Seen { id: id(*n), token: Some(token(*n)), delivered_before: None };
    Outcome::Entries(numbers.iter().map(seen).collect())
}

fn added(n: u64) -> Outcome {
    Outcome::Added(id(n))
}

#[test]
fn what_was_answered_must_be_there() {
    let mut tale = Tale::new();
    tale.told("a", add(5), added(5));
    tale.crash(Crash::Strict);
    tale.found(&[], &[], 0);
    tale.impossible("last-generated-id must be 5-0 and is 0-0");
}

#[test]
fn what_was_not_answered_may_be_there_or_not() {
    for there in [true, false] {
        let mut tale = Tale::new();
        tale.call("a", add(5));
        tale.crash(Crash::Strict);
        tale.found(if there { &[5] } else { &[] }, &[], 0);
        tale.possible();
    }
}

#[test]
fn what_did_not_take_place_before_the_crash_never_does() {
    let mut tale = Tale::new();
    tale.call("a", add(5));
    tale.crash(Crash::Strict);
    tale.found(&[], &[], 0);
    tale.found(&[5], &[], 0);
    tale.impossible("must be 0-0 and is 5-0");
}

#[test]
fn what_a_reader_was_shown_can_not_be_taken_back() {
    let mut tale = Tale::new();
    tale.call("a", add(5));
    tale.told("b", Op::Range { key: KEY.into() }, seen(&[5]));
    tale.crash(Crash::Strict);
    tale.found(&[], &[], 0);
    tale.impossible("must be 5-0 and is 0-0");
}

#[test]
fn calls_at_the_same_time_take_place_in_any_order() {
    let mut tale = Tale::new();
    let one = tale.call("a", add(5));
    let other = tale.call("b", add(6));
    tale.answer(other, added(6));
    tale.answer(one, added(5));
    let third = tale.call("a", add(8));
    let fourth = tale.call("b", add(7));
    tale.answer(third, added(8));
    tale.answer(fourth, added(7));
    tale.found(&[5, 6, 7, 8], &[], 0);
    tale.possible();
}

#[test]
fn calls_one_after_the_other_take_place_in_that_order() {
    let mut tale = Tale::new();
    tale.told("a", add(6), added(6));
    tale.told("b", add(5), added(5));
    tale.impossible("could not have happened");
}

#[test]
fn an_id_is_not_given_out_twice() {
    let mut tale = Tale::new();
    tale.told("a", add(5), added(5));
    tale.crash(Crash::Strict);
    tale.found(&[5], &[], 0);
    tale.told("b", add(6), added(5));
    tale.impossible("could not have happened");
}

#[test]
fn an_entry_has_one_owner() {
    let mut tale = Tale::new();
    tale.told("a", add(5), added(5));
    let one = tale.call("b", read_op("b", false));
    let other = tale.call("c", read_op("c", false));
    tale.answer(one, seen(&[5]));
    tale.answer(other, seen(&[5]));
    tale.impossible("was told 5-0 job-5; must be nothing");
}

#[test]
fn owner_count_and_time_come_back() {
    let start = || {
        let mut tale = Tale::new();
        tale.told("a", add(5), added(5));
        let read = tale.call("b", read_op("b", false));
        tale.answer(read, seen(&[5]));
        tale
    };
    let mut tale = start();
    tale.crash(Crash::Strict);
    tale.now_ms -= 2;
    tale.found(&[5], &[(5, "b", 1)], 5);
    tale.possible();
    for (owner, count, back_ms) in [("c", 1, 2), ("b", 2, 2), ("b", 0, 2), ("b", 1, 100)] {
        let mut tale = start();
        tale.crash(Crash::Strict);
        tale.now_ms -= back_ms;
        tale.found(&[5], &[(5, owner, count)], 5);
        tale.impossible("group g: ");
    }
}

#[test]
fn a_transaction_is_there_whole_or_not_at_all() {
    for (entries, may_be) in [(&[][..], true), (&[5], false), (&[5, 6], true)] {
        let mut tale = Tale::new();
        tale.call("a", Op::Transaction(vec![add(5), add(6)]));
        tale.crash(Crash::Strict);
        tale.found(entries, &[], 0);
        if may_be { tale.possible() } else { tale.impossible("jobs: ") }
    }
}

#[test]
fn calls_of_one_client_take_place_in_their_order() {
    for (entries, may_be) in [(&[][..], true), (&[5], true), (&[6], false), (&[5, 6], true)] {
        let mut tale = Tale::new();
        tale.call("a", add(5));
        tale.call("a", add(6));
        tale.crash(Crash::Strict);
        tale.found(entries, &[], 0);
        if may_be { tale.possible() } else { tale.impossible("jobs: ") }
    }
}

#[test]
fn what_was_not_synced_goes_from_its_end() {
    for (entries, may_be) in [(&[][..], false), (&[5], true), (&[5, 6], true), (&[5, 7], false)] {
        let mut tale = Tale::new();
        tale.told("a", add(5), added(5));
        let moment = tale.history.now();
        tale.history.synced_since(moment);
        tale.told("a", add(6), added(6));
        tale.told("a", add(7), added(7));
        tale.crash(Crash::LosesUnsynced);
        tale.found(entries, &[], 0);
        if may_be { tale.possible() } else { tale.impossible("jobs: ") }
    }
}

#[test]
fn who_went_away_is_not_served_later() {
    let mut tale = Tale::new();
    let read = tale.call("b", read_op("b", true));
    tale.history.drop_call(read, tale.now_ms);
    tale.told("a", add(5), added(5));
    tale.found(&[5], &[(5, "b", 1)], 5);
    tale.impossible("group g: last-delivered-id must be 0-0 and is 5-0");
}

#[test]
fn an_idempotent_entry_is_there_once() {
    let once = |n| Op::Add {
        key: KEY.into(),
        id: None,
        token: token(n),
        keep: None,
        once: Some(("p".into(), "x".into())),
    };
    for (told, may_be) in [(5, true), (6, false)] {
        let mut tale = Tale::new();
        tale.told("a", once(5), added(5));
        tale.crash(Crash::Strict);
        tale.told("a", once(6), added(told));
        if may_be { tale.possible() } else { tale.impossible("must be 5-0") }
    }
}

#[test]
fn a_key_ends_at_its_time_and_not_before() {
    for (later_ms, there, may_be) in
        [(10, true, true), (10, false, false), (200, true, false), (200, false, true)]
    {
        let mut tale = Tale::new();
        let at_ms = tale.now_ms + 100;
        tale.told("a", Op::ExpireAt { key: KEY.into(), at_ms }, Outcome::Number(1));
        tale.crash(Crash::Strict);
        tale.now_ms += later_ms;
        let range = Op::CreateConsumer { key: KEY.into(), group: "g".into(), consumer: "b".into() };
        tale.told("b", range, if there { Outcome::Number(1) } else { Outcome::Error });
        if may_be { tale.possible() } else { tale.impossible("must be") }
    }
}

/// The group that the reader waits for is not the one that serves it in the end.
#[test]
fn a_reader_waits_through_a_rename() {
    let mut tale = Tale::new();
    tale.told("a", Op::CreateGroup { key: "other".into(), group: "g".into(), at: None }, Outcome::Ok);
    let read = tale.call("b", read_op("b", true));
    tale.told("a", Op::Rename { from: "other".into(), to: KEY.into() }, Outcome::Ok);
    tale.told("a", add(5), added(5));
    tale.answer(read, seen(&[5]));
    tale.found(&[5], &[(5, "b", 1)], 5);
    tale.possible();
}

#[test]
fn what_was_settled_is_built_upon() {
    let mut tale = Tale::new();
    tale.told("a", add(5), added(5));
    tale.found(&[5], &[], 0);
    tale.history.check().unwrap();
    tale.history.settle();
    tale.call("a", add(6));
    tale.crash(Crash::Strict);
    tale.found(&[5, 6], &[], 0);
    assert_eq!(tale.history.check().map(|report| (report.calls, report.took_place)), Ok((3, 1)));
    tale.history.settle();
    tale.found(&[6], &[], 0);
    tale.impossible("entries-added must be 2 and is 1");
}
