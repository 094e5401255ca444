//! AUTH: shows the password, where one is asked for.

use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "auth",
    arity: Arity::at_least(2),
    flags: Flags::of(&[
        Flag::Noscript,
        Flag::Loading,
        Flag::Stale,
        Flag::Fast,
        Flag::NoAuth,
        Flag::AllowBusy,
    ]),
    categories: &[Category::Connection],
    summary: "Authenticate to the server",
    since: "1.0.0",
    group: "connection",
    complexity: "O(N) where N is the number of passwords defined for the user",
    history: &[("6.0.0", "Added ACL style (username and password).")],
    args: &[Arg::string("username").since("6.0.0").optional(), Arg::string("password")],
    run,
    ..CommandSpec::DEFAULT
};

pub(crate) const WRONG_PASSWORD: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match call.words {
        [_, password] => {
            if call.context.config.borrow().password.is_none() {
                return Err(CommandError::text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            authenticate(call, b"default", password)?;
        }
        [_, user, password] => authenticate(call, user, password)?,
        _ => return Err(super::args::SYNTAX),
    }
    call.reply.ok();
    Ok(Outcome::Done)
}

/// Lets the client in, or not.
fn authenticate(call: &mut Call<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    check_login(call, user, password)?;
    call.session.authenticated = true;
    Ok(())
}

/// Whether the client may be let in. There is one user, `default`; without a password anything goes.
pub(crate) fn check_login(call: &Call<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let config = call.context.config.borrow();
    let right = config.password.as_ref().is_none_or(|wanted| same(wanted.as_bytes(), password));
    if user != b"default" || !right {
        return Err(WRONG_PASSWORD);
    }
    Ok(())
}

/// Compares in a time that does not tell where the first difference is.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    let differing = wanted.iter().zip(given).fold(0, |bits, (one, other)| bits | (one ^ other));
    differing == 0 && wanted.len() == given.len()
}
