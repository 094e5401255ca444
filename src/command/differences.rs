//! Where claimlog differs from Redis on purpose, for `docs/commands.md`. A difference that is not here is a bug.

/// What differs, or what was decided where Redis can be read either way; and a test that would notice.
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) shown_by: &'static str,
}

/// Differences, and decisions, by theme.
pub(super) const DIFFERENCES: &[(&str, &[Difference])] = &[
    (
        "What is kept that Redis forgets",
        &[
            Difference {
                what: "Delivery counts and times that were raised by reading one's history (XREADGROUP with an id).",
                shown_by: "tests/server/scripts/restarts.txt",
            },
            Difference {
                what: "Consumers that were created by reading, claiming or waiting for nothing. As in 7.2, XREADGROUP with \
                       `>`, XCLAIM and XAUTOCLAIM create their consumer and move its seen-time even if they find nothing.",
                shown_by: "tests/sim/waiting.rs::a_consumer_created_by_an_empty_read_is_recorded",
            },
            Difference {
                what: "Pending references to entries that were deleted or trimmed.",
                shown_by: "tests/server/scripts/restarts.txt",
            },
            Difference {
                what: "Idempotent ids (XADD IDMP), their age, and how many duplicates were refused; through restarts, COPY, \
                       RENAME, MOVE and SWAPDB.",
                shown_by: "tests/sim/model.rs::random_commands_against_the_model",
            },
            Difference {
                what: "The order in which entries were released (XNACK).",
                shown_by: "tests/sim/model.rs::random_commands_against_the_model",
            },
        ],
    ),
    (
        "Streams and groups",
        &[
            Difference {
                what: "Idempotent ids age by the clock of the server, from when they came. In Redis their age is that of \
                       the entry's id, so that ids in the future are remembered for ever.",
                shown_by: "tests/server/scripts/idmp.txt",
            },
            Difference {
                what: "IDMPAUTO tells the name of a pair from its value: `a` = `bc` is not `ab` = `c`.",
                shown_by: "tests/server/scripts/idmp.txt",
            },
            Difference {
                what: "A duplicate is answered with the first entry's id even if that entry is gone by now, as in Redis. \
                       It trims nothing, and is no change to who watches the key.",
                shown_by: "tests/server/scripts/idmp.txt",
            },
            Difference {
                what: "Readers of a group who lose the race for an entry keep their place in the queue. In Redis they go to \
                       its end.",
                shown_by: "tests/sim/waiting.rs::readers_of_a_group_are_served_in_the_order_they_came_and_losers_keep_their_place",
            },
            Difference {
                what: "XREADGROUP CLAIM leaves references alone whose entries are gone; XAUTOCLAIM, XCLAIM and XACK clear \
                       them up. COUNT is for each stream, MAXCOUNT for all of them. A released entry was idle since 1970.",
                shown_by: "tests/sim/time.rs::what_is_gone_is_not_claimed",
            },
            Difference {
                what: "Entries that trimming with ACKED takes out from between others count as deleted: they raise \
                       `max-deleted-entry-id`, or `lag` would be wrong.",
                shown_by: "tests/server/scripts/xtrim.txt",
            },
            Difference {
                what: "`lag` and `entries-read` follow the later, corrected rules where 7.0 miscounts after deletions or \
                       trimming. ENTRIESREAD above the number of entries ever added counts as that number, and XSETID \
                       ENTRIESADDED lowers the groups that had read more.",
                shown_by: "tests/server/scripts/counters.txt",
            },
            Difference {
                what: "XSETID refuses an id below the largest one deleted, as servers since 7.2 do.",
                shown_by: "tests/server/scripts/texts.txt",
            },
            Difference {
                what: "A blocked XREADGROUP whose key or group vanishes gets `NOGROUP No such key '<key>' or consumer group \
                       '<group>' in XREADGROUP with GROUP option`, as since 7.2. A blocked read of several keys is decided \
                       again when it is woken.",
                shown_by: "tests/server/scripts/blocking.txt",
            },
            Difference {
                what: "A trimming with MINID leaves no storage node without entries, where Redis may keep one \
                       (`radix-tree-keys`). Nodes may begin elsewhere after that, and a later trimming with `~` removes \
                       more or less. `radix-tree-nodes` is a number without a meaning here.",
                shown_by: "tests/differential/normal.rs",
            },
            Difference {
                what: "Delivery counts stop at 9223372036854775807.",
                shown_by: "tests/server/scripts/xnack.txt",
            },
            Difference {
                what: "XADD with `ms-*` when that millisecond is full always says that the id is equal or smaller.",
                shown_by: "tests/differential/normal.rs",
            },
            Difference {
                what: "Kept as it is in Redis, though one may wonder: a read that mixes `0` and `>` never blocks; XCLAIM \
                       FORCE does not move the group on, so the entry is delivered again; XRANGE with COUNT 0 answers null; \
                       XGROUP DELCONSUMER drops what the consumer had pending; XGROUP SETID takes `-` and `+`, CREATE does \
                       not.",
                shown_by: "tests/server/scripts/vectors.txt",
            },
        ],
    ),
    (
        "Keys",
        &[
            Difference {
                what: "There are streams and nothing else. Commands of other data types are unknown commands.",
                shown_by: "tests/server/scripts/errors.txt",
            },
            Difference {
                what: "Unknown too are DUMP, RESTORE, MIGRATE, SORT, SORT_RO, MONITOR, LATENCY GRAPH, ACL DRYRUN, ACL SETUSER, \
                       ACL DELUSER, ACL LOAD, ACL SAVE, MODULE LOAD, MODULE UNLOAD and SCRIPT KILL.",
                shown_by: "tests/wire.rs::what_is_absent_is_unknown",
            },
            Difference {
                what: "A key that has expired is gone before any command is decided: DBSIZE, KEYS and SCAN never count it, \
                       also while CLIENT PAUSE lasts. Where very many expire in one moment, who comes next waits until all \
                       are removed, some microseconds for each (see [limits.md](limits.md)). Only on a log so full that not even a removal fits does it stay until there is room.",
                shown_by: "tests/sim/time.rs::keys_expire_on_their_own_and_when_asked_for",
            },
            Difference {
                what: "SCAN answers a name that is there all the time exactly once, also if the key behind it is renamed \
                       over or replaced meanwhile. KEYS answers in byte order.",
                shown_by: "tests/sim/keys.rs::a_scan_meets_every_name_that_is_there_all_the_time",
            },
            Difference {
                what: "RANDOMKEY does not give each key the same chance.",
                shown_by: "tests/server/scripts/keys.txt",
            },
            Difference {
                what: "MEMORY USAGE counts pages and rows and samples nothing. A copy and its original are counted as if \
                       they shared nothing. OBJECT IDLETIME counts from the start for what was not used since.",
                shown_by: "tests/server/scripts/keys.txt",
            },
        ],
    ),
    (
        "The server",
        &[
            Difference {
                what: "CONFIG SET of a setting that shapes the log is refused inside MULTI, and so are CONFIG REWRITE and \
                       DEBUG RELOAD.",
                shown_by: "tests/server/settings.rs",
            },
            Difference {
                what: "CLIENT REPLY OFF and SKIP are errors inside MULTI: in Redis one reply to EXEC is missing then, and \
                       its client waits for ever. A client that kills itself there gets all replies before it is closed.",
                shown_by: "fuzz/corpus/argv/found-reply-skip-in-multi",
            },
            Difference {
                what: "DEBUG RELOAD and LOADAOF close the data and open them again in the same process, as a restart would. \
                       Clients stay connected, and who is blocked waits on in its place. DEBUG SLEEP holds up one client.",
                shown_by: "tests/server/reload.rs",
            },
            Difference {
                what: "CLIENT TRACKING can't be turned on, and there are no replicas, no cluster, no Lua, no modules, no \
                       publishing and no users but `default`. ACL shows that one without a checksum of its password, and ACL \
                       LOG has no failed logins.",
                shown_by: "tests/server/scripts/admin.txt",
            },
            Difference {
                what: "`maxmemory` counts what the data take, not buffers nor the process; nothing is evicted. What clients do \
                       not read is bounded even with `client-output-buffer-limit normal 0 0 0`; see [limits.md](limits.md).",
                shown_by: "tests/server/limits.rs",
            },
            Difference {
                what: "When the log is full, what adds is refused with MISCONF; see [durability.md](durability.md).",
                shown_by: "tests/server/full.rs",
            },
            Difference {
                what: "Names that an error echoes are given whole, where Redis's end at a NUL; CR and LF in them become \
                       blanks.",
                shown_by: "tests/server/scripts/errors.txt",
            },
            Difference {
                what: "HELLO is carried out whole or not at all.",
                shown_by: "tests/differential/normal.rs",
            },
        ],
    ),
];
