//! The commands that took long, newest first. Bounded: by `slowlog-max-len`, and by what is kept of each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Client;
use super::args::is;
use super::context::unix_time;
use super::spec::CommandSpec;

/// So many words of a command are kept, the last of them saying how many more there were,
const WORDS_MAX: usize = 32;
/// and so many bytes of each.
const WORD_BYTES_MAX: usize = 128;

/// A command that took long.
#[derive(Debug)]
pub(crate) struct SlowCommand {
    pub(crate) id: u64,
    pub(crate) unix_secs: u64,
    pub(crate) micros: u64,
    pub(crate) words: Vec<Bytes>,
    pub(crate) words_in_all: u64,
    pub(crate) address: String,
    pub(crate) name: Bytes,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct SlowCommands {
    pub(crate) entries: RefCell<VecDeque<SlowCommand>>,
    next_id: Cell<u64>,
}

impl SlowCommands {
    pub(crate) fn note(
        &self,
        spec: &CommandSpec,
        words: &[&[u8]],
        client: &Client,
        took: Duration,
        most: u64,
    ) {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let mut entries = self.entries.borrow_mut();
        entries.push_front(SlowCommand {
            id,
            unix_secs: unix_time().as_secs(),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            words: shortened(spec, words),
            words_in_all: words.len() as u64,
            address: Client::address_text(client.address),
            name: client.name.borrow().clone(),
        });
        entries.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
}

/// What is kept of a command's words.
fn shortened(spec: &CommandSpec, words: &[&[u8]]) -> Vec<Bytes> {
    let kept = if words.len() > WORDS_MAX { WORDS_MAX - 1 } else { words.len() };
    let mut short: Vec<Bytes> = (0..kept).map(|at| shown(spec, words, at)).collect();
    if kept < words.len() {
        short.push(format!("... ({} more arguments)", words.len() - kept).into());
    }
    short
}

fn shown(spec: &CommandSpec, words: &[&[u8]], at: usize) -> Bytes {
    let word = words[at];
    if is_secret(spec, words, at) {
        return Bytes::from_static(b"(redacted)");
    }
    if word.len() <= WORD_BYTES_MAX {
        return Bytes::copy_from_slice(word);
    }
    let more = format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX);
    [&word[..WORD_BYTES_MAX], more.as_bytes()].concat().into()
}

/// Whether a word is a password, or who it belongs to.
fn is_secret(spec: &CommandSpec, words: &[&[u8]], at: usize) -> bool {
    let before = |back: usize, option| at.checked_sub(back).is_some_and(|there| is(words[there], option));
    match spec.name {
        "auth" => at > 0,
        "hello" => at > 2 && (before(1, "AUTH") || before(2, "AUTH")),
        "config|set" => at > 2 && before(1, "requirepass"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::by_name;
    use super::*;

    fn kept(name: &str, words: &[&str]) -> Vec<String> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let short = shortened(by_name(name.as_bytes()).unwrap(), &words);
        short.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn passwords_are_not_kept() {
        assert_eq!(kept("auth", &["AUTH", "me", "secret"]), ["AUTH", "(redacted)", "(redacted)"]);
        let hello = ["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"];
        assert_eq!(kept("hello", &hello)[3..], ["(redacted)", "(redacted)", "SETNAME", "me"]);
        let set = ["CONFIG", "SET", "timeout", "1", "RequirePass", "secret"];
        assert_eq!(kept("config|set", &set)[3..], ["1", "RequirePass", "(redacted)"]);
    }

    #[test]
    fn what_is_long_is_cut() {
        let words = vec!["x"; 40];
        let short = kept("del", &words);
        assert_eq!((short.len(), short[31].as_str()), (32, "... (9 more arguments)"));
        assert_eq!(kept("del", &words[..32]).len(), 32);
        let long = "y".repeat(130);
        assert_eq!(kept("echo", &["echo", &long])[1], format!("{}... (2 more bytes)", "y".repeat(128)));
    }
}
