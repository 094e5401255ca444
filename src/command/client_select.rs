//! CLIENT LIST and KILL: which connections, by what is known of them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::args::{SYNTAX, Words, is};
use super::session::{Client, ClientKind};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use claimlog::resp::parse_integer;

pub(crate) static KILL: CommandSpec = CommandSpec {
    name: "client|kill",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Kill the connection of a client",
    since: "2.4.0",
    group: "connection",
    complexity: "O(N) where N is the number of client connections",
    history: &[
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        (
            "5.0.0",
            "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility.",
        ),
        ("6.2.0", "`LADDR` option."),
        ("7.4.0", "`MAXAGE` option."),
    ],
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::string("ip:port").deprecated_since("2.8.12"),
            Arg::one_of(
                "new-format",
                &[
                    Arg::integer("client-id").after("ID").since("2.8.12").optional().many(),
                    Arg::one_of(
                        "normal_master_slave_pubsub",
                        &[
                            Arg::word("normal", "NORMAL"),
                            Arg::word("master", "MASTER").since("3.2.0"),
                            Arg::word("slave", "SLAVE"),
                            Arg::word("replica", "REPLICA").since("5.0.0"),
                            Arg::word("pubsub", "PUBSUB"),
                        ],
                    )
                    .after("TYPE")
                    .since("2.8.12")
                    .optional(),
                    Arg::string("username").after("USER").optional(),
                    Arg::string("ip:port").after("ADDR").optional(),
                    Arg::string("ip:port").after("LADDR").since("6.2.0").optional(),
                    Arg::string("yes/no").after("SKIPME").optional(),
                    Arg::integer("maxage").after("MAXAGE").since("7.4.0").optional(),
                ],
            )
            .many(),
        ],
    )],
    run: kill,
    ..CommandSpec::DEFAULT
};

pub(crate) static LIST: CommandSpec = CommandSpec {
    name: "client|list",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output"],
    summary: "Get the list of client connections",
    since: "2.4.0",
    group: "connection",
    complexity: "O(N) where N is the number of client connections",
    history: &[
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
    ],
    args: &[
        Arg::one_of(
            "normal_master_replica_pubsub",
            &[
                Arg::word("normal", "NORMAL"),
                Arg::word("master", "MASTER"),
                Arg::word("replica", "REPLICA"),
                Arg::word("pubsub", "PUBSUB"),
            ],
        )
        .after("TYPE")
        .since("5.0.0")
        .optional(),
        Arg::block("id", &[Arg::integer("client-id").many()]).after("ID").since("6.2.0").optional(),
    ],
    run: list,
    ..CommandSpec::DEFAULT
};

fn list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut kind = None;
    let mut ids: Option<Vec<i64>> = None;
    match &call.words[2..] {
        [] => {}
        [option, word] if is(option, "TYPE") => kind = Some(client_kind(word)?),
        [option, words @ ..] if is(option, "ID") && !words.is_empty() => {
            let parsed: Option<Vec<i64>> = words.iter().map(|word| parse_integer(word)).collect();
            ids = Some(parsed.ok_or(CommandError::text("ERR Invalid client ID"))?);
        }
        _ => return Err(SYNTAX),
    }
    let now = Instant::now();
    let mut text = String::new();
    for client in call.context.living_clients() {
        let wanted = kind.is_none_or(|kind| kind == ClientKind::Normal)
            && ids.as_ref().is_none_or(|ids| ids.contains(&client.id.cast_signed()));
        if wanted {
            text.push_str(&client.line(now));
            text.push('\n');
        }
    }
    call.reply.verbatim(text.as_bytes());
    Ok(Outcome::Done)
}

fn client_id(word: &[u8]) -> Option<u64> {
    parse_integer(word).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}

fn client_kind(word: &[u8]) -> Result<ClientKind, CommandError> {
    ClientKind::parse(word)
        .ok_or_else(|| CommandError::owned([b"ERR Unknown client type '", word, b"'"].concat()))
}

/// Which clients KILL is about.
#[derive(Default)]
struct Victims {
    /// One of these; none: any.
    ids: Vec<u64>,
    address: Option<Bytes>,
    local_address: Option<Bytes>,
    kind: Option<ClientKind>,
    /// Connected for at least so long.
    age: Option<Duration>,
    skip_me: bool,
}

impl Victims {
    fn parse(words: &[&[u8]]) -> Result<Self, CommandError> {
        let mut victims = Self { skip_me: true, ..Self::default() };
        let mut words = Words::new(words);
        while let Some(option) = words.next() {
            let value = words.value()?;
            if is(option, "ID") {
                victims.ids.push(victim_id(value)?);
                // Several ids may follow one ID.
                while let Some(more) = words.peek().filter(|word| parse_integer(word).is_some()) {
                    victims.ids.push(victim_id(more)?);
                    words.next();
                }
            } else if is(option, "TYPE") {
                victims.kind = Some(client_kind(value)?);
            } else if is(option, "ADDR") {
                victims.address = Some(Bytes::copy_from_slice(value));
            } else if is(option, "LADDR") {
                victims.local_address = Some(Bytes::copy_from_slice(value));
            } else if is(option, "USER") {
                if value != b"default" {
                    return Err(CommandError::owned([b"ERR No such user '", value, b"'"].concat()));
                }
            } else if is(option, "MAXAGE") {
                victims.age = Some(max_age(value)?);
            } else if is(option, "SKIPME") && is(value, "YES") {
                victims.skip_me = true;
            } else if is(option, "SKIPME") && is(value, "NO") {
                victims.skip_me = false;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(victims)
    }

    fn include(&self, client: &Client, now: Instant) -> bool {
        let at = |wanted: &Option<Bytes>, address| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_ref() == Client::address_text(address).as_bytes())
        };
        (self.ids.is_empty() || self.ids.contains(&client.id))
            && at(&self.address, client.address)
            && at(&self.local_address, client.local_address)
            && self.kind.is_none_or(|kind| kind == ClientKind::Normal)
            && self.age.is_none_or(|age| now.saturating_duration_since(client.connected) >= age)
    }
}

fn victim_id(word: &[u8]) -> Result<u64, CommandError> {
    client_id(word).ok_or(CommandError::text("ERR client-id should be greater than 0"))
}

fn max_age(word: &[u8]) -> Result<Duration, CommandError> {
    let seconds =
        parse_integer(word).ok_or(CommandError::text("ERR maxage is not an integer or out of range"))?;
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(CommandError::text("ERR maxage should be greater than 0")),
    }
}

fn kill(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    // The old form: one address, and its answer is OK or an error.
    let old_form = call.words.len() == 3;
    let victims = if old_form {
        Victims { address: Some(call.name(2)), ..Victims::default() }
    } else {
        Victims::parse(&call.words[2..])?
    };
    let now = Instant::now();
    let own = call.session.client.id;
    let mut killed = 0;
    let mut close_self = false;
    for client in call.context.living_clients() {
        if !victims.include(&client, now) || (victims.skip_me && client.id == own) {
            continue;
        }
        killed += 1;
        if client.id == own {
            close_self = true;
        } else {
            call.end_reading(&client);
            client.kill();
        }
    }
    if !old_form {
        call.reply.integer(killed);
    } else if killed > 0 {
        call.reply.ok();
    } else {
        return Err(CommandError::text("ERR No such client"));
    }
    Ok(if close_self { Outcome::Close } else { Outcome::Done })
}
