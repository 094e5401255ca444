//! CLUSTER and what belongs to it: there is none, and clients that ask are told so.

use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "cluster",
    arity: Arity::at_least(2),
    summary: "A container for cluster commands",
    since: "3.0.0",
    group: "cluster",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &ADDSLOTS,
        &ADDSLOTSRANGE,
        &BUMPEPOCH,
        &COUNT_FAILURE_REPORTS,
        &COUNTKEYSINSLOT,
        &DELSLOTS,
        &DELSLOTSRANGE,
        &FAILOVER,
        &FLUSHSLOTS,
        &FORGET,
        &GETKEYSINSLOT,
        &HELP,
        &INFO,
        &KEYSLOT,
        &LINKS,
        &MEET,
        &MYID,
        &NODES,
        &REPLICAS,
        &REPLICATE,
        &RESET,
        &SAVECONFIG,
        &SET_CONFIG_EPOCH,
        &SETSLOT,
        &SHARDS,
        &SLAVES,
        &SLOTS,
    ],
    ..CommandSpec::DEFAULT
};

/// What those have in common that are refused, which is nearly all.
const REFUSED: CommandSpec =
    CommandSpec { group: "cluster", complexity: "O(1)", run: disabled, ..CommandSpec::DEFAULT };

static ADDSLOTS: CommandSpec = CommandSpec {
    name: "cluster|addslots",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Assign new hash slots to receiving node",
    since: "3.0.0",
    complexity: "O(N) where N is the total number of hash slot arguments",
    args: &[Arg::integer("slot").many()],
    ..REFUSED
};

static ADDSLOTSRANGE: CommandSpec = CommandSpec {
    name: "cluster|addslotsrange",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Assign new hash slots to receiving node",
    since: "7.0.0",
    complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
    args: &[Arg::block("start-slot_end-slot", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).many()],
    ..REFUSED
};

static BUMPEPOCH: CommandSpec = CommandSpec {
    name: "cluster|bumpepoch",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    tips: &["nondeterministic_output"],
    summary: "Advance the cluster config epoch",
    since: "3.0.0",
    ..REFUSED
};

static COUNT_FAILURE_REPORTS: CommandSpec = CommandSpec {
    name: "cluster|count-failure-reports",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Return the number of failure reports active for a given node",
    since: "3.0.0",
    complexity: "O(N) where N is the number of failure reports",
    args: &[Arg::string("node-id")],
    ..REFUSED
};

static COUNTKEYSINSLOT: CommandSpec = CommandSpec {
    name: "cluster|countkeysinslot",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Stale]),
    summary: "Return the number of local keys in the specified hash slot",
    since: "3.0.0",
    args: &[Arg::integer("slot")],
    ..REFUSED
};

static DELSLOTS: CommandSpec = CommandSpec {
    name: "cluster|delslots",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Set hash slots as unbound in receiving node",
    since: "3.0.0",
    complexity: "O(N) where N is the total number of hash slot arguments",
    args: &[Arg::integer("slot").many()],
    ..REFUSED
};

static DELSLOTSRANGE: CommandSpec = CommandSpec {
    name: "cluster|delslotsrange",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Set hash slots as unbound in receiving node",
    since: "7.0.0",
    complexity: "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
    args: &[Arg::block("start-slot_end-slot", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).many()],
    ..REFUSED
};

static FAILOVER: CommandSpec = CommandSpec {
    name: "cluster|failover",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Forces a replica to perform a manual failover of its master.",
    since: "3.0.0",
    args: &[
        Arg::one_of("options", &[Arg::word("force", "FORCE"), Arg::word("takeover", "TAKEOVER")]).optional()
    ],
    ..REFUSED
};

static FLUSHSLOTS: CommandSpec = CommandSpec {
    name: "cluster|flushslots",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Delete a node's own slots information",
    since: "3.0.0",
    ..REFUSED
};

static FORGET: CommandSpec = CommandSpec {
    name: "cluster|forget",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Remove a node from the nodes table",
    since: "3.0.0",
    args: &[Arg::string("node-id")],
    ..REFUSED
};

static GETKEYSINSLOT: CommandSpec = CommandSpec {
    name: "cluster|getkeysinslot",
    arity: Arity::exactly(4),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Return local key names in the specified hash slot",
    since: "3.0.0",
    complexity: "O(log(N)) where N is the number of requested keys",
    args: &[Arg::integer("slot"), Arg::integer("count")],
    ..REFUSED
};

static HELP: CommandSpec = CommandSpec {
    name: "cluster|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    ..REFUSED
};

static INFO: CommandSpec = CommandSpec {
    name: "cluster|info",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Provides info about Redis Cluster node state",
    since: "3.0.0",
    ..REFUSED
};

static KEYSLOT: CommandSpec = CommandSpec {
    name: "cluster|keyslot",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Stale]),
    summary: "Returns the hash slot of the specified key",
    since: "3.0.0",
    complexity: "O(N) where N is the number of bytes in the key",
    args: &[Arg::string("key")],
    ..REFUSED
};

static LINKS: CommandSpec = CommandSpec {
    name: "cluster|links",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Returns a list of all TCP links to and from peer nodes in cluster",
    since: "7.0.0",
    complexity: "O(N) where N is the total number of Cluster nodes",
    ..REFUSED
};

static MEET: CommandSpec = CommandSpec {
    name: "cluster|meet",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Force a node cluster to handshake with another node",
    since: "3.0.0",
    history: &[("4.0.0", "Added the optional `cluster_bus_port` argument.")],
    args: &[
        Arg::string("ip"),
        Arg::integer("port"),
        Arg::integer("cluster_bus_port").since("4.0.0").optional(),
    ],
    ..REFUSED
};

static MYID: CommandSpec = CommandSpec {
    name: "cluster|myid",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    summary: "Return the node id",
    since: "3.0.0",
    ..REFUSED
};

static NODES: CommandSpec = CommandSpec {
    name: "cluster|nodes",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Get Cluster config for the node",
    since: "3.0.0",
    complexity: "O(N) where N is the total number of Cluster nodes",
    ..REFUSED
};

static REPLICAS: CommandSpec = CommandSpec {
    name: "cluster|replicas",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "List replica nodes of the specified master node",
    since: "5.0.0",
    args: &[Arg::string("node-id")],
    ..REFUSED
};

static REPLICATE: CommandSpec = CommandSpec {
    name: "cluster|replicate",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Reconfigure a node as a replica of the specified master node",
    since: "3.0.0",
    args: &[Arg::string("node-id")],
    ..REFUSED
};

static RESET: CommandSpec = CommandSpec {
    name: "cluster|reset",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Stale]),
    summary: "Reset a Redis Cluster node",
    since: "3.0.0",
    complexity: "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
    args: &[Arg::one_of("hard_soft", &[Arg::word("hard", "HARD"), Arg::word("soft", "SOFT")]).optional()],
    ..REFUSED
};

static SAVECONFIG: CommandSpec = CommandSpec {
    name: "cluster|saveconfig",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Forces the node to save cluster state on disk",
    since: "3.0.0",
    ..REFUSED
};

static SET_CONFIG_EPOCH: CommandSpec = CommandSpec {
    name: "cluster|set-config-epoch",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Set the configuration epoch in a new node",
    since: "3.0.0",
    args: &[Arg::integer("config-epoch")],
    ..REFUSED
};

static SETSLOT: CommandSpec = CommandSpec {
    name: "cluster|setslot",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Admin, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Bind a hash slot to a specific node",
    since: "3.0.0",
    args: &[
        Arg::integer("slot"),
        Arg::one_of(
            "subcommand",
            &[
                Arg::string("node-id").after("IMPORTING"),
                Arg::string("node-id").after("MIGRATING"),
                Arg::string("node-id").after("NODE"),
                Arg::word("stable", "STABLE"),
            ],
        ),
    ],
    ..REFUSED
};

static SHARDS: CommandSpec = CommandSpec {
    name: "cluster|shards",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Get array of cluster slots to node mappings",
    since: "7.0.0",
    complexity: "O(N) where N is the total number of cluster nodes",
    ..REFUSED
};

static SLAVES: CommandSpec = CommandSpec {
    name: "cluster|slaves",
    deprecated: Some(("5.0.0", "`CLUSTER REPLICAS`")),
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "List replica nodes of the specified master node",
    since: "3.0.0",
    doc_flags: &["deprecated"],
    args: &[Arg::string("node-id")],
    ..REFUSED
};

static SLOTS: CommandSpec = CommandSpec {
    name: "cluster|slots",
    deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Stale]),
    tips: &["nondeterministic_output"],
    summary: "Get array of Cluster slot to node mappings",
    since: "3.0.0",
    complexity: "O(N) where N is the total number of Cluster nodes",
    history: &[("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")],
    doc_flags: &["deprecated"],
    ..REFUSED
};

pub(crate) static SPEC_ASKING: CommandSpec = CommandSpec {
    name: "asking",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Fast]),
    categories: &[Category::Connection],
    summary: "Sent by cluster clients after an -ASK redirect",
    since: "3.0.0",
    ..REFUSED
};

pub(crate) static SPEC_READONLY: CommandSpec = CommandSpec {
    name: "readonly",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Connection],
    summary: "Enables read queries for a connection to a cluster replica node",
    since: "3.0.0",
    ..REFUSED
};

pub(crate) static SPEC_READWRITE: CommandSpec = CommandSpec {
    name: "readwrite",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Connection],
    summary: "Disables read queries for a connection to a cluster replica node",
    since: "3.0.0",
    ..REFUSED
};

fn disabled(_: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR This instance has cluster support disabled"))
}
