//! LATENCY: what took long, and how long commands take.

use std::collections::VecDeque;

use super::args::is;
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::table;
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "latency",
    arity: Arity::at_least(2),
    summary: "A container for latency diagnostics commands",
    since: "2.8.13",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&DOCTOR, &HELP, &HISTOGRAM, &HISTORY, &LATEST, &RESET],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static DOCTOR: CommandSpec = CommandSpec {
    name: "latency|doctor",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    summary: "Return a human readable latency analysis report.",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    run: doctor,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "latency|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands.",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static HISTOGRAM: CommandSpec = CommandSpec {
    name: "latency|histogram",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    summary: "Return the cumulative distribution of latencies of a subset of commands or all.",
    since: "7.0.0",
    group: "server",
    complexity: "O(N) where N is the number of commands with latency information being retrieved.",
    args: &[Arg::string("command").optional().many()],
    run: histogram,
    ..CommandSpec::DEFAULT
};

static HISTORY: CommandSpec = CommandSpec {
    name: "latency|history",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    summary: "Return timestamp-latency samples for the event.",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    args: &[Arg::string("event")],
    run: history,
    ..CommandSpec::DEFAULT
};

static LATEST: CommandSpec = CommandSpec {
    name: "latency|latest",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    summary: "Return the latest latency samples for all events.",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    run: latest,
    ..CommandSpec::DEFAULT
};

static RESET: CommandSpec = CommandSpec {
    name: "latency|reset",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    summary: "Reset latency data for one or more events.",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    args: &[Arg::string("event").optional().many()],
    run: reset,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

fn doctor(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let threshold = call.context.config.borrow().latency_threshold_ms;
    let events = call.context.slow_events.events.borrow();
    let mut text = String::new();
    if threshold == 0 && events.is_empty() {
        text.push_str(
            "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> says from when on something counts \
             as slow.\n",
        );
    } else if events.is_empty() {
        text.push_str("Nothing was slow since the start.\n");
    } else {
        text.push_str("Slow since the start:\n\n");
        for (number, (name, event)) in events.iter().enumerate() {
            let sum: u64 = event.samples.iter().map(|sample| sample.millis).sum();
            text.push_str(&format!(
                "{}. {name}: {} times ({} ms on average, {} ms at worst)\n",
                number + 1,
                event.samples.len(),
                sum / event.samples.len().max(1) as u64,
                event.worst_millis,
            ));
        }
        text.push_str("\nSLOWLOG GET shows commands that took long. The disk shows in INFO persistence.\n");
    }
    call.reply.verbatim(text.as_bytes());
    Ok(Outcome::Done)
}

fn histogram(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let histograms = call.context.stats.histograms.borrow();
    let wanted = &call.words[2..];
    let asked_for = |name: &str| {
        let container = name.split('|').next().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|word| is(word, name) || is(word, container))
    };
    let found: Vec<_> = table::all()
        .zip(histograms.iter())
        .filter(|(spec, _)| asked_for(spec.name))
        .filter_map(|(spec, histogram)| histogram.as_ref().map(|histogram| (spec, histogram)))
        .collect();
    call.reply.map(found.len());
    for (spec, histogram) in found {
        call.reply.bulk(spec.name.as_bytes());
        call.reply.map(2);
        call.reply.bulk(b"calls");
        call.reply.count(histogram.count());
        call.reply.bulk(b"histogram_usec");
        let steps = histogram.steps_of_two();
        call.reply.map(steps.len());
        for (micros, calls) in steps {
            call.reply.count(micros);
            call.reply.count(calls);
        }
    }
    Ok(Outcome::Done)
}

fn history(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let events = call.context.slow_events.events.borrow();
    let name = String::from_utf8_lossy(call.words[2]);
    let samples = events.get(&*name).map(|event| &event.samples);
    call.reply.array(samples.map_or(0, VecDeque::len));
    for sample in samples.into_iter().flatten() {
        call.reply.array(2);
        call.reply.count(sample.unix_secs);
        call.reply.count(sample.millis);
    }
    Ok(Outcome::Done)
}

fn latest(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let events = call.context.slow_events.events.borrow();
    call.reply.array(events.len());
    for (name, event) in &*events {
        let last = event.samples.back().copied().unwrap_or_default();
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        call.reply.count(last.unix_secs);
        call.reply.count(last.millis);
        call.reply.count(event.worst_millis);
    }
    Ok(Outcome::Done)
}

fn reset(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let names: Vec<_> = call.words[2..].iter().map(|word| String::from_utf8_lossy(word)).collect();
    let mut events = call.context.slow_events.events.borrow_mut();
    let before = events.len();
    events.retain(|event, _| !(names.is_empty() || names.iter().any(|name| name == event)));
    let removed = before - events.len();
    call.reply.count(removed as u64);
    Ok(Outcome::Done)
}
