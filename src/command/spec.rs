//! What a command is, as data. Everything that can be derived from these rows is: dispatch and arity checks,
//! COMMAND INFO, DOCS, LIST and GETKEYS, the names in INFO commandstats, `docs/commands.md`.

use std::ops::Range;

use super::{Call, CommandError, Outcome};

/// The function that carries a command out.
pub(crate) type Run = fn(&mut Call<'_, '_>) -> Result<Outcome, CommandError>;

/// The function that finds the keys of a call: their range within the words.
pub(crate) type FindKeys = fn(&[&[u8]]) -> Option<Range<usize>>;

/// One command or subcommand.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    /// Lower case; subcommands as `container|name`.
    pub(crate) name: &'static str,
    /// How many words it takes, its name included.
    pub(crate) arity: Arity,
    pub(crate) flags: Flags,
    /// ACL categories that do not follow from the flags.
    pub(crate) categories: &'static [Category],
    /// Where its keys are.
    pub(crate) keys: &'static [KeySpec],
    /// Where its keys are when a key spec is not enough: the range of them within the words.
    pub(crate) find_keys: Option<FindKeys>,
    /// Hints for cluster clients, as Redis gives them.
    pub(crate) tips: &'static [&'static str],
    pub(crate) summary: &'static str,
    /// The Redis version that first had it.
    pub(crate) since: &'static str,
    pub(crate) group: &'static str,
    pub(crate) complexity: &'static str,
    /// What changed since, by version.
    pub(crate) history: &'static [(&'static str, &'static str)],
    /// Since when it should not be used any more, and what to use.
    pub(crate) deprecated: Option<(&'static str, &'static str)>,
    /// `doc_flags` of COMMAND DOCS.
    pub(crate) doc_flags: &'static [&'static str],
    pub(crate) args: &'static [Arg],
    pub(crate) subcommands: &'static [&'static CommandSpec],
    /// The lines that HELP of a container gives between its first and its last two.
    pub(crate) help: &'static [&'static str],
    pub(crate) run: Run,
}

impl CommandSpec {
    /// The values of fields that a row leaves out.
    pub(crate) const DEFAULT: Self = Self {
        name: "",
        arity: Arity::exactly(1),
        flags: Flags::of(&[]),
        categories: &[],
        keys: &[],
        find_keys: None,
        tips: &[],
        summary: "",
        since: "",
        group: "",
        complexity: "",
        history: &[],
        deprecated: None,
        doc_flags: &[],
        args: &[],
        subcommands: &[],
        help: &[],
        run: |_| Err(CommandError::text("ERR this is a container of subcommands")),
    };

    /// The name without the container's.
    pub(crate) fn last_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// Whether COMMAND INFO says that keys can't be found by first, last and step.
    pub(crate) fn movable_keys(&self) -> bool {
        self.keys.iter().any(|keys| matches!(keys.begin, Begin::Keyword { .. }))
    }

    /// The ACL categories: those that follow from the flags, and its own, in Redis's order.
    pub(crate) fn all_categories(&self) -> Vec<Category> {
        let follows = |category: &Category| match category {
            Category::Write => self.flags.has(Flag::Write),
            Category::Read => self.flags.has(Flag::Readonly),
            Category::Admin | Category::Dangerous => self.flags.has(Flag::Admin),
            Category::Fast => self.flags.has(Flag::Fast),
            Category::Slow => !self.flags.has(Flag::Fast),
            Category::Blocking => self.flags.has(Flag::Blocking),
            Category::Keyspace
            | Category::Stream
            | Category::Connection
            | Category::Transaction
            | Category::Scripting => false,
        };
        Category::ALL
            .iter()
            .filter(|category| follows(category) || self.categories.contains(category))
            .copied()
            .collect()
    }

    /// First key, last key and step of COMMAND INFO: zeros where there are none, or where they move.
    pub(crate) fn key_range(&self) -> (i64, i64, i64) {
        let ends = |keys: &KeySpec| match keys.begin {
            Begin::Index(first) if keys.last >= 0 => Some((first, first + keys.last, keys.step)),
            Begin::Index(first) => Some((first, keys.last, keys.step)),
            Begin::Keyword(..) => None,
        };
        match (self.keys.first().and_then(ends), self.keys.last().and_then(ends)) {
            // Several specs of one key each follow one another.
            (Some((first, _, step)), Some((_, last, _))) => (first, last, step),
            _ => (0, 0, 0),
        }
    }

    /// The positions of keys in a call, each with what is done with it; `None` if the words make no sense.
    pub(crate) fn key_positions(&self, argv: &[&[u8]]) -> Option<Vec<(usize, &'static [&'static str])>> {
        if let Some(find) = self.find_keys {
            let flags = self.keys.first().map_or(&[][..], |keys| keys.flags);
            return find(argv).map(|found| found.map(|position| (position, flags)).collect());
        }
        let mut positions = Vec::new();
        for keys in self.keys {
            let Begin::Index(first) = keys.begin else { return None };
            let first = usize::try_from(first).ok()?;
            let last = match usize::try_from(keys.last) {
                Ok(further) => first + further,
                Err(_) => argv.len().checked_sub(usize::try_from(-keys.last).ok()?)?,
            };
            if last >= argv.len() {
                return None;
            }
            let step = usize::try_from(keys.step).ok()?.max(1);
            positions.extend((first..=last).step_by(step).map(|position| (position, keys.flags)));
        }
        Some(positions)
    }
}

/// How many words a command takes, its name (and its container's) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arity {
    least: usize,
    open: bool,
}

impl Arity {
    /// So many words, not more, not less.
    pub(crate) const fn exactly(words: usize) -> Self {
        Self { least: words, open: false }
    }

    /// So many words or more.
    pub(crate) const fn at_least(words: usize) -> Self {
        Self { least: words, open: true }
    }

    pub(crate) fn allows(self, words: usize) -> bool {
        words == self.least || (self.open && words > self.least)
    }

    /// As COMMAND INFO gives it: negative for "or more".
    pub(crate) fn wire(self) -> i64 {
        let least = self.least as i64;
        if self.open { -least } else { least }
    }
}

/// What a command is like. The order is Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Write,
    Readonly,
    DenyOom,
    Admin,
    Noscript,
    Blocking,
    Loading,
    Stale,
    SkipSlowlog,
    Fast,
    NoAuth,
    NoAsyncLoading,
    NoMulti,
    AllowBusy,
}

impl Flag {
    const ALL: [(Self, &'static str); 14] = [
        (Self::Write, "write"),
        (Self::Readonly, "readonly"),
        (Self::DenyOom, "denyoom"),
        (Self::Admin, "admin"),
        (Self::Noscript, "noscript"),
        (Self::Blocking, "blocking"),
        (Self::Loading, "loading"),
        (Self::Stale, "stale"),
        (Self::SkipSlowlog, "skip_slowlog"),
        (Self::Fast, "fast"),
        (Self::NoAuth, "no_auth"),
        (Self::NoAsyncLoading, "no_async_loading"),
        (Self::NoMulti, "no_multi"),
        (Self::AllowBusy, "allow_busy"),
    ];
}

/// A set of [`Flag`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) const fn of(flags: &[Flag]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < flags.len() {
            bits |= 1 << flags[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    pub(crate) const fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Their names, as COMMAND INFO gives them.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Flag::ALL.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// An ACL category. The order is Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    Keyspace,
    Read,
    Write,
    Stream,
    Admin,
    Fast,
    Slow,
    Blocking,
    Dangerous,
    Connection,
    Transaction,
    Scripting,
}

impl Category {
    pub(crate) const ALL: [Self; 12] = [
        Self::Keyspace,
        Self::Read,
        Self::Write,
        Self::Stream,
        Self::Admin,
        Self::Fast,
        Self::Slow,
        Self::Blocking,
        Self::Dangerous,
        Self::Connection,
        Self::Transaction,
        Self::Scripting,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keyspace => "keyspace",
            Self::Read => "read",
            Self::Write => "write",
            Self::Stream => "stream",
            Self::Admin => "admin",
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Blocking => "blocking",
            Self::Dangerous => "dangerous",
            Self::Connection => "connection",
            Self::Transaction => "transaction",
            Self::Scripting => "scripting",
        }
    }
}

/// Where keys are among the words of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpec {
    pub(crate) begin: Begin,
    /// The last key, counted from the first one; negative: from the end of the words.
    pub(crate) last: i64,
    pub(crate) step: i64,
    /// With a negative `last`: the keys are the first 1/limit of the words that are left.
    pub(crate) limit: i64,
    /// What is done with them.
    pub(crate) flags: &'static [&'static str],
    pub(crate) notes: &'static str,
}

/// Where the first key is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// At this word.
    Index(i64),
    /// After this word, which is looked for from that position on.
    Keyword(&'static str, i64),
}

impl KeySpec {
    pub(crate) const fn index(first: i64, last: i64, step: i64) -> Self {
        Self { begin: Begin::Index(first), last, step, limit: 0, flags: &[], notes: "" }
    }

    pub(crate) const fn keyword(word: &'static str, from: i64, last: i64, step: i64, limit: i64) -> Self {
        Self { begin: Begin::Keyword(word, from), last, step, limit, flags: &[], notes: "" }
    }

    pub(crate) const fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    pub(crate) const fn notes(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }
}

/// An argument of a command, as COMMAND DOCS describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg {
    pub(crate) name: &'static str,
    pub(crate) kind: ArgKind,
    /// The word that comes before it (or is all of it).
    pub(crate) token: Option<&'static str>,
    pub(crate) since: Option<&'static str>,
    pub(crate) deprecated_since: Option<&'static str>,
    pub(crate) optional: bool,
    /// May be given several times,
    pub(crate) many: bool,
    /// each time with its token.
    pub(crate) many_tokens: bool,
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ArgKind {
    Key,
    String,
    Integer,
    Double,
    Pattern,
    UnixTime,
    /// Nothing but its token.
    Word,
    OneOf(&'static [Arg]),
    Block(&'static [Arg]),
}

impl ArgKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::Word => "pure-token",
            Self::OneOf(_) => "oneof",
            Self::Block(_) => "block",
        }
    }
}

#[allow(dead_code, reason = "a vocabulary: rows of later commands use what these do not")]
impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            kind,
            token: None,
            since: None,
            deprecated_since: None,
            optional: false,
            many: false,
            many_tokens: false,
        }
    }

    pub(crate) const fn key(name: &'static str) -> Self {
        Self::new(name, ArgKind::Key)
    }

    pub(crate) const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    pub(crate) const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    pub(crate) const fn double(name: &'static str) -> Self {
        Self::new(name, ArgKind::Double)
    }

    pub(crate) const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgKind::Pattern)
    }

    pub(crate) const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgKind::UnixTime)
    }

    pub(crate) const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::Word).after(token)
    }

    pub(crate) const fn one_of(name: &'static str, args: &'static [Arg]) -> Self {
        Self::new(name, ArgKind::OneOf(args))
    }

    pub(crate) const fn block(name: &'static str, args: &'static [Arg]) -> Self {
        Self::new(name, ArgKind::Block(args))
    }

    /// The word that comes before it.
    pub(crate) const fn after(self, token: &'static str) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) const fn since(self, version: &'static str) -> Self {
        Self { since: Some(version), ..self }
    }

    pub(crate) const fn deprecated_since(self, version: &'static str) -> Self {
        Self { deprecated_since: Some(version), ..self }
    }

    pub(crate) const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub(crate) const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    /// May be given several times, each time with its token.
    pub(crate) const fn many_tokens(self) -> Self {
        Self { many: true, many_tokens: true, ..self }
    }

    /// The fewest words it takes.
    pub(crate) fn least_words(&self) -> usize {
        if self.optional {
            return 0;
        }
        let own = match self.kind {
            ArgKind::Word => 0,
            ArgKind::OneOf(args) => args.iter().map(Self::least_words).min().unwrap_or(0),
            ArgKind::Block(args) => args.iter().map(Self::least_words).sum(),
            _ => 1,
        };
        own + usize::from(self.token.is_some())
    }
}
