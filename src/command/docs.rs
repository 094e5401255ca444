//! COMMAND DOCS, and `docs/commands.md`.

use super::spec::{Arg, ArgKind, CommandSpec};
use claimlog::resp::Encoder;

/// What COMMAND DOCS says about one command.
pub(crate) fn encode(reply: &mut Encoder<'_>, spec: &CommandSpec) {
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
        ("complexity", spec.complexity),
    ];
    let texts = texts.iter().filter(|(_, text)| !text.is_empty());
    let lists = [
        spec.deprecated.is_some(),
        spec.deprecated.is_some(),
        !spec.doc_flags.is_empty(),
        !spec.history.is_empty(),
        !spec.args.is_empty(),
        !spec.subcommands.is_empty(),
    ];
    reply.map(texts.clone().count() + lists.iter().filter(|there| **there).count());
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !spec.doc_flags.is_empty() {
        reply.bulk(b"doc_flags");
        reply.set(spec.doc_flags.len());
        for flag in spec.doc_flags {
            reply.simple(flag.as_bytes());
        }
    }
    if let Some((since, instead)) = spec.deprecated {
        reply.bulk(b"deprecated_since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(instead.as_bytes());
    }
    if !spec.history.is_empty() {
        reply.bulk(b"history");
        reply.set(spec.history.len());
        for (version, change) in spec.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !spec.args.is_empty() {
        reply.bulk(b"arguments");
        args(reply, spec.args, &mut KeySpecs { next: 0, last: spec.keys.len().saturating_sub(1) });
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands.len());
        for sub in spec.subcommands {
            reply.bulk(sub.name.as_bytes());
            encode(reply, sub);
        }
    }
}

/// Arguments. `keys` says to which key spec the next key belongs: they are in the same order, and the last is for all
/// that are left.
fn args(reply: &mut Encoder<'_>, args: &[Arg], keys: &mut KeySpecs) {
    reply.array(args.len());
    for one in args {
        arg(reply, one, keys);
    }
}

/// Counts the key specs of a command.
struct KeySpecs {
    next: usize,
    last: usize,
}

impl KeySpecs {
    fn take(&mut self) -> i64 {
        let index = self.next.min(self.last);
        self.next += 1;
        index as i64
    }
}

fn arg(reply: &mut Encoder<'_>, arg: &Arg, keys: &mut KeySpecs) {
    let is_key = matches!(arg.kind, ArgKind::Key);
    let inner = match arg.kind {
        ArgKind::OneOf(inner) | ArgKind::Block(inner) => Some(inner),
        _ => None,
    };
    let texts = [("token", arg.token), ("since", arg.since), ("deprecated_since", arg.deprecated_since)];
    let flags: Vec<&str> =
        [(arg.optional, "optional"), (arg.many, "multiple"), (arg.many_tokens, "multiple_token")]
            .iter()
            .filter(|flag| flag.0)
            .map(|flag| flag.1)
            .collect();
    let pairs = 2
        + usize::from(is_key)
        + texts.iter().filter(|(_, text)| text.is_some()).count()
        + usize::from(!flags.is_empty())
        + usize::from(inner.is_some());
    reply.map(pairs);
    reply.bulk(b"name");
    reply.bulk(arg.name.as_bytes());
    reply.bulk(b"type");
    reply.bulk(arg.kind.name().as_bytes());
    if is_key {
        reply.bulk(b"key_spec_index");
        reply.integer(keys.take());
    }
    for (name, text) in texts {
        if let Some(text) = text {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag.as_bytes());
        }
    }
    if let Some(inner) = inner {
        reply.bulk(b"arguments");
        args(reply, inner, keys);
    }
}

/// How a call is written: `XADD key [NOMKSTREAM] ...`.
#[cfg(test)]
pub(crate) fn syntax(spec: &CommandSpec) -> String {
    let mut text = spec.name.replace('|', " ").to_uppercase();
    for arg in spec.args {
        text.push(' ');
        text.push_str(&arg_syntax(arg));
    }
    text
}

#[cfg(test)]
fn arg_syntax(arg: &Arg) -> String {
    let list = |args: &[Arg], between: &str| args.iter().map(arg_syntax).collect::<Vec<_>>().join(between);
    let inner = match arg.kind {
        ArgKind::Word => String::new(),
        ArgKind::OneOf(args) if arg.optional && arg.token.is_none() => list(args, " | "),
        ArgKind::OneOf(args) => format!("<{}>", list(args, " | ")),
        ArgKind::Block(args) => list(args, " "),
        _ => arg.name.to_owned(),
    };
    let mut text = inner.clone();
    if let Some(token) = arg.token {
        text = if inner.is_empty() { token.to_owned() } else { format!("{token} {inner}") };
    }
    if arg.many {
        text = format!("{text} [{inner} ...]");
    }
    if arg.optional { format!("[{text}]") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::differences::{DIFFERENCES, Difference};
    use super::super::table::COMMANDS;
    use super::*;

    fn row(text: &mut String, spec: &CommandSpec) {
        text.push_str(&format!(
            "- `{}` - {} *(since {})*\n",
            syntax(spec),
            spec.summary.trim_end_matches('.'),
            spec.since
        ));
    }

    fn generated() -> String {
        let mut text = String::from(
            "# Commands\n\nGenerated from the command table (`src/command/table.rs`). After a change there:\n\
             `CLAIMLOG_WRITE_DOCS=1 cargo test --bin claimlog docs_commands_md`.\n\n\
             The version is the one of Redis that first had the command. Streams have all commands and options through \
             Redis 8.10; options that came later than their command are in COMMAND DOCS with their version. What \
             [differs](#differences) is at the end.\n",
        );
        let mut groups: Vec<&str> = COMMANDS.iter().map(|spec| spec.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.sort_by_key(|group| *group != "stream");
        for group in groups {
            text.push_str(&format!("\n## {}{}\n\n", group[..1].to_uppercase(), &group[1..]));
            for spec in COMMANDS.iter().filter(|spec| spec.group == group) {
                let alone = spec.subcommands.is_empty() || spec.name == "command";
                let specs = std::iter::once(*spec).filter(|_| alone).chain(spec.subcommands.iter().copied());
                specs.for_each(|spec| row(&mut text, spec));
            }
        }
        text.push_str(
            "\n## Differences\n\nWhere claimlog differs from Redis on purpose, and what was decided where Redis can be read \
             either way. The tests compare random sequences with a real Redis 7.0.15, byte for byte; any other difference \
             is a bug.\n",
        );
        for (theme, differences) in DIFFERENCES {
            text.push_str(&format!("\n### {theme}\n\n"));
            for Difference { what, shown_by } in *differences {
                text.push_str(&format!("- {what} *(`{shown_by}`)*\n"));
            }
        }
        text
    }

    #[test]
    fn docs_commands_md_is_not_stale() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        let wanted = generated();
        if std::env::var_os("CLAIMLOG_WRITE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let present = std::fs::read_to_string(path).unwrap_or_default();
        assert!(present == wanted, "docs/commands.md is stale; how to renew it stands at its top");
    }
}
