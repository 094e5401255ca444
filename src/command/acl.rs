//! ACL: there is one user, `default`, who may do everything.

use std::fs::File;
use std::io::Read;

use super::args::{integer, is};
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::table;
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "acl",
    arity: Arity::at_least(2),
    summary: "A container for Access List Control commands ",
    since: "6.0.0",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&CAT, &GENPASS, &GETUSER, &HELP, &LIST, &LOG, &USERS, &WHOAMI],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static CAT: CommandSpec = CommandSpec {
    name: "acl|cat",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "List the ACL categories or the commands inside a category",
    since: "6.0.0",
    group: "server",
    complexity: "O(1) since the categories and commands are a fixed set.",
    args: &[Arg::string("categoryname").optional()],
    run: cat,
    ..CommandSpec::DEFAULT
};

static GENPASS: CommandSpec = CommandSpec {
    name: "acl|genpass",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Generate a pseudorandom secure password to use for ACL users",
    since: "6.0.0",
    group: "server",
    complexity: "O(1)",
    args: &[Arg::integer("bits").optional()],
    run: genpass,
    ..CommandSpec::DEFAULT
};

static GETUSER: CommandSpec = CommandSpec {
    name: "acl|getuser",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Get the rules for a specific ACL user",
    since: "6.0.0",
    group: "server",
    complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
    history: &[
        ("6.2.0", "Added Pub/Sub channel patterns."),
        (
            "7.0.0",
            "Added selectors and changed the format of key and channel patterns from a list to their rule representation.",
        ),
    ],
    args: &[Arg::string("username")],
    run: getuser,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "acl|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "6.0.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static LIST: CommandSpec = CommandSpec {
    name: "acl|list",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "List the current ACL rules in ACL config file format",
    since: "6.0.0",
    group: "server",
    complexity: "O(N). Where N is the number of configured users.",
    run: list,
    ..CommandSpec::DEFAULT
};

static LOG: CommandSpec = CommandSpec {
    name: "acl|log",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "List latest events denied because of ACLs in place",
    since: "6.0.0",
    group: "server",
    complexity: "O(N) with N being the number of entries shown.",
    args: &[Arg::one_of("operation", &[Arg::integer("count"), Arg::word("reset", "RESET")]).optional()],
    run: log,
    ..CommandSpec::DEFAULT
};

static USERS: CommandSpec = CommandSpec {
    name: "acl|users",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "List the username of all the configured ACL rules",
    since: "6.0.0",
    group: "server",
    complexity: "O(N). Where N is the number of configured users.",
    run: users,
    ..CommandSpec::DEFAULT
};

static WHOAMI: CommandSpec = CommandSpec {
    name: "acl|whoami",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Return the name of the user associated to the current connection",
    since: "6.0.0",
    group: "server",
    complexity: "O(1)",
    run: whoami,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

/// All categories of Redis. Of those that are about other types there are no commands.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The most bits of ACL GENPASS, and how many it gives unless told otherwise.
const PASSWORD_BITS_MAX: i64 = 4096;
const PASSWORD_BITS: i64 = 256;

fn bulks(call: &mut Call<'_, '_>, texts: &[&str]) {
    call.reply.array(texts.len());
    for text in texts {
        call.reply.bulk(text.as_bytes());
    }
}

fn cat(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = match &call.words[2..] {
        [] => CATEGORIES.to_vec(),
        [category] => {
            if !CATEGORIES.iter().any(|known| is(category, known)) {
                return Err(CommandError::owned([b"ERR Unknown category '", &category[..], b"'"].concat()));
            }
            let belongs =
                |spec: &&CommandSpec| spec.all_categories().iter().any(|own| is(category, own.name()));
            table::all().filter(belongs).map(|spec| spec.name).collect()
        }
        _ => return Err(call.subcommand_syntax()),
    };
    bulks(call, &names);
    Ok(Outcome::Done)
}

fn genpass(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let bits = match &call.words[2..] {
        [] => PASSWORD_BITS,
        [bits] => integer(bits)?,
        _ => return Err(call.subcommand_syntax()),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(CommandError::owned(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| CommandError::owned(format!("ERR the system gives no random numbers: {error}")))?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    call.reply.bulk(&text.as_bytes()[..digits]);
    Ok(Outcome::Done)
}

fn getuser(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if call.word(2) != b"default" {
        call.reply.null();
        return Ok(Outcome::Done);
    }
    let flags: &[&[u8]] = if has_password(call) { &[b"on"] } else { &[b"on", b"nopass"] };
    let reply = &mut call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag);
    }
    reply.bulk(b"passwords");
    reply.array(0);
    for (name, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
    Ok(Outcome::Done)
}

fn has_password(call: &Call<'_, '_>) -> bool {
    call.context.config.borrow().password.is_some()
}

/// The password is not shown, not even as a checksum.
fn list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let line =
        if has_password(call) { "user default on ~* &* +@all" } else { "user default on nopass ~* &* +@all" };
    bulks(call, &[line]);
    Ok(Outcome::Done)
}

/// Nobody was ever refused but for a wrong password, which is not recorded.
fn log(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match &call.words[2..] {
        [] => call.reply.array(0),
        [reset] if is(reset, "RESET") => call.reply.ok(),
        [count] => {
            integer(count)?;
            call.reply.array(0);
        }
        _ => return Err(call.subcommand_syntax()),
    }
    Ok(Outcome::Done)
}

fn users(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    bulks(call, &["default"]);
    Ok(Outcome::Done)
}

fn whoami(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.bulk(b"default");
    Ok(Outcome::Done)
}
