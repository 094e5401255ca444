//! Clients that know after each command what there is to see: each has a stream of its own, looks at it after every
//! answer, and remembers. After a crash a stream must look as it did after the last answer, or after the command that
//! was under way.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::thread;

use crate::common::{Client, Rng, Server, Value};
use crate::disk::Said;

/// A stream and its client.
#[derive(Debug)]
pub(crate) struct Stream {
    number: usize,
    rng: Rng,
    /// How it looked after each command; the first one: before all of them.
    pub(crate) looks: Vec<String>,
    /// Of these commands the answer has come.
    pub(crate) answered: usize,
    /// An entry has about so many bytes.
    bytes: u64,
    /// Of the last command that was sent.
    last_word: String,
}

/// Where clients write down what they do.
pub(crate) type Diary = Option<File>;

fn note(diary: &mut Diary, said: Said) {
    if let Some(file) = diary {
        file.write_all(&said.encode()).unwrap();
    }
}

fn short(value: &Value, out: &mut String) {
    match value {
        Value::Bulk(bytes) if bytes.len() > 40 => {
            let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
            out.push_str(&format!("<{} bytes, {sum:x}>", bytes.len()));
        }
        Value::Array(items) => {
            out.push('[');
            let mut items = items.iter();
            while let Some(item) = items.next() {
                // The one time that may move at a restart.
                if *item == Value::bulk("seen-time") {
                    items.next();
                    continue;
                }
                short(item, out);
                out.push(' ');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

impl Stream {
    pub(crate) fn new(number: usize, seed: u64, bytes: u64) -> Self {
        let looks = vec!["-ERR no such key".to_owned()];
        Self {
            number,
            rng: Rng::new(seed ^ (number as u64) << 32),
            looks,
            answered: 0,
            bytes,
            last_word: String::new(),
        }
    }

    pub(crate) fn key(&self) -> String {
        format!("s{}", self.number)
    }

    /// All that there is to see of it.
    pub(crate) fn look(&self, client: &mut Client) -> std::io::Result<String> {
        let value = client.call(&["XINFO", "STREAM", &self.key(), "FULL", "COUNT", "0"])?;
        let mut out = String::new();
        short(&value, &mut out);
        Ok(out)
    }

    fn value(&mut self) -> String {
        let length = self.rng.between(1, 2 * self.bytes);
        // What is long is mostly of one kind, and still different each time.
        if length > 4096 {
            let letter = char::from(b'a' + self.rng.below(26) as u8);
            return format!("{:x}{}", self.rng.next(), letter.to_string().repeat(length as usize));
        }
        (0..length).map(|_| char::from(b'!' + self.rng.below(90) as u8)).collect()
    }

    /// An id that is probably there.
    fn id(&mut self) -> String {
        let look = self.looks.last().unwrap();
        let ids: Vec<&str> = look.split(['"', '[', ' ']).filter(|word| is_id(word)).collect();
        if ids.is_empty() { "1-1".into() } else { ids[self.rng.index(ids.len())].to_owned() }
    }

    /// The next command; several lines are a transaction.
    fn command(&mut self) -> Vec<Vec<String>> {
        let key = self.key();
        let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        if self.looks.len() == 1 || self.looks.last().unwrap().starts_with('-') {
            return vec![words(format!("XGROUP CREATE {key} g 0 MKSTREAM"))];
        }
        let consumer = format!("c{}", self.rng.below(3));
        let most = if self.bytes > 4096 { "5" } else { "~ 60" };
        let add = |this: &mut Self| words(format!("XADD {key} MAXLEN {most} * field {}", this.value()));
        let one = match self.rng.below(100) {
            0..50 => add(self),
            50..64 => words(format!(
                "XREADGROUP GROUP g {consumer} COUNT {} STREAMS {key} >",
                self.rng.between(1, 5)
            )),
            64..72 => words(format!("XACK {key} g {}", self.id())),
            72..80 => words(format!("XCLAIM {key} g {consumer} 0 {}", self.id())),
            80..84 => words(format!("XDEL {key} {}", self.id())),
            84..86 => words(format!("XTRIM {key} MAXLEN 20")),
            86..88 => words(format!("XAUTOCLAIM {key} g {consumer} 0 0 COUNT 3")),
            88 => words(format!("XGROUP DELCONSUMER {key} g {consumer}")),
            89 => words(format!("DEL {key}")),
            _ => {
                let id = self.id();
                return vec![
                    words("MULTI".into()),
                    add(self),
                    words(format!("XREADGROUP GROUP g {consumer} COUNT 2 STREAMS {key} >")),
                    words(format!("XACK {key} g {id}")),
                    add(self),
                    words("EXEC".into()),
                ];
            }
        };
        vec![one]
    }

    /// Executes one command and looks.
    fn step(&mut self, client: &mut Client, diary: &mut Diary) -> std::io::Result<()> {
        let number = self.answered + 1;
        let lines = self.command();
        self.last_word = lines[0][0].clone();
        note(diary, Said::Sent(self.number, number));
        let bytes: Vec<u8> = lines.iter().flat_map(|line| crate::common::resp::encode(line)).collect();
        client.send_raw(&bytes)?;
        for _ in &lines {
            let reply = client.recv()?;
            // Nothing of it took place, and it does not go on.
            if reply.is_error() && (reply.text().starts_with("MISCONF") || reply.text().contains("log")) {
                return Err(std::io::Error::other(reply.text()));
            }
        }
        note(diary, Said::Answered(self.number, number));
        self.answered = number;
        let look = self.look(client)?;
        self.looks.push(look);
        Ok(())
    }

    /// Looks again after a crash: whether the command that was under way took place is known from now on.
    fn resume(&mut self, client: &mut Client, diary: &mut Diary) -> Result<(), String> {
        let look = self.look(client).map_err(|e| format!("looking at {}: {e}", self.key()))?;
        let answered = self.looks.get(self.answered);
        if answered == Some(&look) {
            return Ok(());
        }
        // Either the last command was answered and then there was no time to look, or one was under way. How it looks
        // after that one nobody has seen yet; certainly not as it looked before.
        let before = self.looks.len() - 1;
        let again = ["DEL", "XGROUP"].contains(&&*self.last_word) || self.looks[before] == look;
        if !again && let Some(old) = self.looks[..before].iter().position(|old| *old == look) {
            return Err(format!(
                "{}: {} commands were answered, the last one sent was {}, and it looks as after {old}:\n  is        {look}\n  \
                 should be {}",
                self.key(),
                self.answered,
                self.last_word,
                self.looks[before]
            ));
        }
        if answered.is_some() {
            note(diary, Said::Answered(self.number, self.answered + 1));
            self.answered += 1;
        }
        self.looks.push(look);
        Ok(())
    }
}

fn is_id(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('-').is_some_and(|(left, right)| digits(left) && digits(right))
}

/// Clients at the same time.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) streams: Vec<Stream>,
}

impl Load {
    pub(crate) fn new(count: usize, seed: u64, bytes: u64) -> Self {
        Self { streams: (0..count).map(|number| Stream::new(number, seed, bytes)).collect() }
    }

    /// The entries of one client are long from now on: segments and parts of snapshots come to their ends.
    pub(crate) fn with_long_entries(mut self, bytes: u64) -> Self {
        self.streams[0].bytes = bytes;
        self
    }

    /// Each client makes so many steps, or fewer if the server ends before.
    pub(crate) fn run(&mut self, server: &Server, steps: usize, trace: Option<&Path>) {
        let port = server.port;
        thread::scope(|scope| {
            for stream in &mut self.streams {
                let mut diary =
                    trace.map(|path| OpenOptions::new().append(true).create(true).open(path).unwrap());
                scope.spawn(move || {
                    let Ok(mut client) = Client::connect(port) else { return };
                    for _ in 0..steps {
                        if stream.step(&mut client, &mut diary).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// After a crash: what was answered is there, and the rest is known from now on.
    pub(crate) fn resume(&mut self, server: &Server, trace: Option<&Path>) -> Result<(), String> {
        let mut client = server.client();
        for stream in &mut self.streams {
            let mut diary =
                trace.map(|path| OpenOptions::new().append(true).create(true).open(path).unwrap());
            stream.resume(&mut client, &mut diary)?;
        }
        self.check(server, &self.all_answered())
    }

    /// Each stream looks as after one of its commands, from the last that was answered to the last that was sent, and
    /// there is nothing else.
    pub(crate) fn check(&self, server: &Server, said: &[(usize, usize)]) -> Result<(), String> {
        let mut client = server.client();
        let mut keys = 0;
        for (stream, (answered, sent)) in self.streams.iter().zip(said) {
            let look = stream.look(&mut client).map_err(|e| format!("looking at {}: {e}", stream.key()))?;
            keys += i64::from(!look.starts_with('-'));
            let known = &stream.looks[*answered..=(*sent).min(stream.looks.len() - 1)];
            if !known.contains(&look) {
                let other = stream.looks.iter().position(|other| *other == look);
                return Err(format!(
                    "{}: answered {answered}, sent {sent}; it looks as after {other:?}\n  is        {look}\n  should be {}",
                    stream.key(),
                    known.join("\n  or        ")
                ));
            }
        }
        let all = client.call(&["DBSIZE"]).map_err(|e| e.to_string())?.int();
        if all == keys { Ok(()) } else { Err(format!("{all} keys, {keys} of them are known")) }
    }

    /// What was answered to each, and nothing under way.
    pub(crate) fn all_answered(&self) -> Vec<(usize, usize)> {
        self.streams.iter().map(|stream| (stream.answered, stream.answered)).collect()
    }

    pub(crate) fn answered(&self) -> usize {
        self.streams.iter().map(|stream| stream.answered).sum()
    }
}
