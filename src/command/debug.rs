//! DEBUG: only what does no harm.

use std::time::Duration;

use claimlog::EntryId;
use claimlog::op::{Object, Refusal, XRange};
use xxhash_rust::xxh3::Xxh3;

use super::args::{integer, is};
use super::context::unix_time;
use super::spec::{Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use crate::config::DebugCommand;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "debug",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "A container for debugging commands",
    since: "1.0.0",
    group: "server",
    complexity: "Depends on subcommand.",
    doc_flags: &["syscmd"],
    run,
    ..CommandSpec::DEFAULT
};

/// The longest DEBUG SLEEP.
const SLEEP_SECS_MAX: f64 = 3600.0;

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    check_allowed(call)?;
    match call.words {
        [_, sub, seconds] if is(sub, "SLEEP") => sleep(call, seconds),
        [_, sub] if is(sub, "RELOAD") => reload(call, true),
        [_, sub, how] if is(sub, "RELOAD") && is(how, "NOSAVE") => reload(call, false),
        [_, sub] if is(sub, "LOADAOF") => reload(call, false),
        [_, sub] if is(sub, "CHANGE-REPL-ID") => {
            call.context.change_replication_id();
            call.reply.ok();
            Ok(Outcome::Done)
        }
        [_, sub, keys @ ..] if is(sub, "DIGEST-VALUE") => digest_value(call, keys.len()),
        // As it is sent, for those who try how a client takes an error.
        [_, sub, text] if is(sub, "ERROR") => Err(CommandError::Reply(text.to_vec().into())),
        [_, sub, _] if is(sub, "OBJECT") => object(call),
        [_, sub, on] if is(sub, "SET-ACTIVE-EXPIRE") => set_active_expire(call, on),
        [_, sub] if is(sub, "HELP") => {
            let lines = [
                "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                "CHANGE-REPL-ID",
                "    Change the replication id that INFO shows.",
                "DIGEST-VALUE <key> [<key> ...]",
                "    Show a digest of the entries of each <key>: equal for equal entries.",
                "ERROR <string>",
                "    Answer with <string> as an error.",
                "LOADAOF",
                "    Close the data and open them again, from what the last snapshot and the log behind it have.",
                "OBJECT <key>",
                "    Show what is known of <key> and its value.",
                "RELOAD [NOSAVE]",
                "    Take a snapshot (unless NOSAVE), close the data and open them again. Clients stay connected.",
                "SET-ACTIVE-EXPIRE (0|1)",
                "    Whether keys are removed as soon as they expire, or only when somebody asks for something.",
                "SLEEP <seconds>",
                "    Stop serving this connection for <seconds>. Decimals allowed. Others are served meanwhile.",
                "HELP",
                "    Prints this help.",
            ];
            call.reply.array(lines.len());
            for line in lines {
                call.reply.simple(line.as_bytes());
            }
            Ok(Outcome::Done)
        }
        _ => Err(call.subcommand_syntax()),
    }
}

/// Digests of streams as Redis understands them: of entries only, and nothing but zeros where there is none.
fn digest_value(call: &mut Call<'_, '_>, keys: usize) -> Result<Outcome, CommandError> {
    let (first, last) = (EntryId::MIN, EntryId::MAX);
    let mut digests = Vec::with_capacity(keys);
    for at in 2..2 + keys {
        let range = XRange { key: call.key(at), first, last, count: None, reverse: false };
        let mut digest = Xxh3::new();
        let entries = call.execute(&range)?;
        for entry in entries.iter().flatten() {
            digest.update(&entry.id.ms.to_le_bytes());
            digest.update(&entry.id.seq.to_le_bytes());
            digest.update(&(entry.fields.len() as u64).to_le_bytes());
            for part in entry.fields.iter().flat_map(|(name, value)| [name, value]) {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        digests.push(entries.map_or(0, |_| digest.digest128()));
    }
    call.reply.array(keys);
    for digest in digests {
        // As long as a SHA-1.
        call.reply.simple(format!("{digest:040x}").as_bytes());
    }
    Ok(Outcome::Done)
}

/// As Redis's line, for those who parse it. There is no address to show.
fn object(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let object = call.execute(&Object { key: call.key(2) })?.ok_or(Refusal::NoSuchKey)?;
    let idle_secs = object.idle_ms.map_or_else(|| call.context.started.elapsed().as_secs(), |ms| ms / 1000);
    let used_unix_secs = unix_time().as_secs().saturating_sub(idle_secs);
    let line = format!(
        "Value at:0x0 refcount:1 encoding:stream serializedlength:{} lru:{} lru_seconds_idle:{idle_secs}",
        object.memory_bytes,
        // As many bits as Redis has for it.
        used_unix_secs & 0xff_ffff,
    );
    call.reply.simple(line.as_bytes());
    Ok(Outcome::Done)
}

/// Whether keys are removed as soon as they expire, or only when somebody asks for something.
fn set_active_expire(call: &mut Call<'_, '_>, on: &[u8]) -> Result<Outcome, CommandError> {
    if call.in_transaction() {
        return Err(CommandError::text("ERR this setting can't be changed inside MULTI"));
    }
    let mut settings = call.context.config.borrow().engine;
    settings.active_expiry = integer(on)? != 0;
    call.context.engine().set_settings(settings)?;
    call.context.config.borrow_mut().engine = settings;
    call.reply.ok();
    Ok(Outcome::Done)
}

/// DEBUG can hold everybody up: it is for those whom the configuration trusts with that.
fn check_allowed(call: &Call<'_, '_>) -> Result<(), CommandError> {
    let allowed = match call.context.config.borrow().debug_command {
        DebugCommand::Everybody => true,
        DebugCommand::Nobody => false,
        DebugCommand::Local => {
            call.session.client.address.is_some_and(|address| address.ip().to_canonical().is_loopback())
        }
    };
    if allowed {
        return Ok(());
    }
    Err(CommandError::text(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}

/// The data are closed and opened again, as by a restart; clients notice nothing but the time it takes.
fn reload(call: &mut Call<'_, '_>, snapshot: bool) -> Result<Outcome, CommandError> {
    if call.in_transaction() {
        return Err(CommandError::text("ERR the data can't be opened again inside MULTI"));
    }
    Ok(Outcome::Reload { snapshot })
}

/// Redis stops serving everybody; here one client can't do that to the others.
fn sleep(call: &mut Call<'_, '_>, seconds: &[u8]) -> Result<Outcome, CommandError> {
    let seconds: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let seconds = if seconds > 0.0 { seconds.min(SLEEP_SECS_MAX) } else { 0.0 };
    if call.in_transaction() {
        call.reply.ok();
        return Ok(Outcome::Done);
    }
    let time = Some(Duration::from_secs_f64(seconds));
    Ok(Outcome::Pause { time, encode: |reply| reply.ok() })
}
