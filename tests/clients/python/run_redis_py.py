"""redis-py over RESP3 and RESP2: every stream method, transactions, readers that wait, and kill -9 under load."""

import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from common import UNHARMED, Server, check, entries, features, left_out, same_after_crash

G = "packers"
BOOK = {"item": "book", "blob": "\0\r\n\N{SNOWMAN}"}


def refused(what, call, text):
    try:
        call()
    except redis.ResponseError as error:
        check(f"{what}: {error}", text in str(error), True)
    else:
        sys.exit(f"MISMATCH: {what} is not refused")


def rows(r, stream, **more):
    found = r.xpending_range(stream, G, min="-", max="+", count=100, **more)
    return [(row["message_id"], row["consumer"], row["times_delivered"]) for row in found]


def adding(r, s, has):
    first = r.xadd(s, BOOK)
    check("an entry comes back as it was", r.xrange(s), [(first, BOOK)])
    check("NOMKSTREAM makes nothing", (r.xadd("none", {"a": 1}, nomkstream=True), r.exists("none")), (None, 0))
    check("an id of one's own", r.xadd("ids", {"a": 1}, id="5-1"), "5-1")
    check("half an id", [r.xadd("ids", {"a": 2}, id="5-*"), r.xadd("ids", {"a": 3}, id="6")], ["5-2", "6-0"])
    refused("an id that is too small", lambda: r.xadd("ids", {"a": 4}, id="5-9"), "equal or smaller than the target")
    check("MAXLEN", (r.xadd("ids", {"a": 5}, id="7-0", maxlen=2, approximate=False), r.xlen("ids")), ("7-0", 2))
    check("MINID", (r.xadd("ids", {"a": 6}, id="8-0", minid="8", approximate=False), r.xlen("ids")), ("8-0", 1))
    r.xadd("ids", {"a": 7}, id="9-0", maxlen=1, limit=5)
    r.xadd("ids", {"a": 8}, id="10-0", minid="10", limit=5)
    check("~ keeps whole nodes", r.xlen("ids"), 3)
    check("XTRIM", (r.xtrim("ids", maxlen=2, approximate=False), r.xtrim("ids", minid="10", approximate=False)), (1, 1))
    check("XREVRANGE", r.xrevrange("ids", count=5), [("10-0", {"a": "8"})])
    check("XDEL", (r.xdel("ids", "10-0", "11-0"), r.xlen("ids"), r.type("ids")), (1, 0, "stream"))
    if "ref_policy" in has:
        r.xgroup_create(s, "other", id="0")
        check("ACKED trims nothing unread", r.xtrim(s, maxlen=0, approximate=False, ref_policy="ACKED"), 0)
        check("and the group goes", r.xgroup_destroy(s, "other"), 1)
    if "xcfgset" in has:
        check("XCFGSET", r.xcfgset("ids", idmp_duration=200, idmp_maxsize=50), "OK")
    if "idmp" in has:
        once, again = (r.xadd("ids", {"n": n}, idmp=("producer", b"job-1")) for n in (1, 2))
        check("IDMP adds once", (once == again, r.xlen("ids")), (True, 1))
        check("IDMPAUTO", len({r.xadd("ids", {"x": 1, "y": 2}, idmpauto="producer") for _ in range(3)}), 1)
    return first


def groups(r, s, first, has):
    check("a group", r.xgroup_create(s, G, id="$", mkstream=True), True)
    refused("the same again", lambda: r.xgroup_create(s, G), "Consumer Group name already exists")
    refused("a group that is not there", lambda: r.xreadgroup("nobody", "anna", {s: ">"}), "NOGROUP No such key")
    check("XGROUP SETID", r.xgroup_setid(s, G, "0", entries_read=0), True)
    check("XGROUP CREATECONSUMER", r.xgroup_createconsumer(s, G, "carl"), 1)
    more = [r.xadd(s, {"n": n}) for n in range(4)]
    read = r.xreadgroup(G, "anna", {s: ">"}, count=3)
    check("anna reads three", [key for key, _ in entries(read, s)], [first, *more[:2]])
    check("NOACK", len(entries(r.xreadgroup(G, "ned", {s: ">"}, noack=True), s)), 2)
    check("nothing is left", r.xreadgroup(G, "anna", {s: ">"}), {})
    check("they are anna's", rows(r, s), [(key, "anna", 1) for key in (first, *more[:2])])
    claimed = r.xclaim(s, G, "bert", 0, [more[0]], idle=5000, retrycount=7)
    check("bert claims", claimed, [(more[0], {"n": "0"})])
    check("XPENDING with IDLE", rows(r, s, idle=4000), [(more[0], "bert", 7)])
    check("XCLAIM JUSTID counts nothing", r.xclaim(s, G, "bert", 0, [more[0]], justid=True), [more[0]])
    r.xdel(s, more[1])
    check("XAUTOCLAIM", r.xautoclaim(s, G, "carl", 0, count=1), [more[0], [(first, BOOK)], []])
    check("and the one that was deleted", r.xautoclaim(s, G, "carl", 0, start_id=more[1])[2], [more[1]])
    forced = r.xclaim(s, G, "dora", 0, [more[3]], force=True, time=1_700_000_000_000)
    check("XCLAIM FORCE", forced, [(more[3], {"n": "3"})])
    check("who has what", rows(r, s), [(first, "carl", 2), (more[0], "bert", 7), (more[3], "dora", 2)])
    check("in short", r.xpending(s, G), {"pending": 3, "min": first, "max": more[3], "consumers": [
        {"name": "bert", "pending": 1}, {"name": "carl", "pending": 1}, {"name": "dora", "pending": 1}]})
    check("XACK", r.xack(s, G, first, "1-1"), 1)
    check("XGROUP DELCONSUMER", r.xgroup_delconsumer(s, G, "ned"), 0)
    if "claim" in has:
        new = r.xadd(s, {"n": 4})
        got = entries(r.xreadgroup(G, "emil", {s: ">"}, claim_min_idle_time=4000), s)
        check("XREADGROUP CLAIM: first what is old", [(row[0], row[3]) for row in got], [(more[3], 2), (new, 0)])
        his = [row for row in rows(r, s) if row[1] == "emil"]
        check("and it is claimed", his, [(more[3], "emil", 3), (new, "emil", 1)])
    if "xnack" in has:
        check("XNACK", r.xnack(s, G, "FAIL", more[3]), 1)
        check("is nobody's", [row[1] for row in rows(r, s) if row[0] == more[3]], [""])
    if "xackdel" in has:
        done = r.xadd(s, {"n": 5})
        r.xreadgroup(G, "anna", {s: ">"})
        check("XACKDEL", (r.xackdel(s, G, done), r.xrange(s, done, done)), ([1], []))
    if "xdelex" in has:
        check("XDELEX", r.xdelex(s, "1-1", r.xadd(s, {"n": 6}), ref_policy="KEEPREF"), [-1, 1])
    if "max_count" in has:
        got = r.xread({s: "0", "ids": "0"}, max_count=2)
        check("MAXCOUNT", sum(len(found) for found in got.values()), 2)
        check("MAXSIZE", sum(len(found) for found in r.xread({s: "0"}, max_size=1).values()), 1)


def transactions(r, s):
    with r.pipeline(transaction=True) as pipe:
        answers = pipe.xadd(s, {"t": 1}).xlen(s).xadd(s, {"t": 2}).xlen(s).execute()
    check("MULTI", answers[3] - answers[1], 1)
    with r.pipeline(transaction=False) as pipe:
        check("a pipeline", pipe.xdel(s, answers[0]).xdel(s, answers[2]).xdel(s, "1-1").execute(), [1, 1, 0])
    length = r.xlen(s)
    with r.pipeline() as pipe:
        pipe.watch(s)
        r.xadd(s, {"between": 1})
        try:
            pipe.multi()
            pipe.xadd(s, {"lost": 1})
            pipe.execute()
            sys.exit("MISMATCH: a watched key changed, and EXEC went on")
        except redis.WatchError:
            check("WATCH", r.xlen(s), length + 1)
    check("the function with WATCH", r.transaction(lambda p: (p.multi(), p.xlen(s)), s), [length + 1])


def waiting(r, s):
    got = {}
    threads = [threading.Thread(target=lambda: got.update(group=r.xreadgroup(G, "anna", {s: ">"}, block=20000))),
               threading.Thread(target=lambda: got.update(read=r.xread({s: "$"}, block=20000)))]
    entries_before = r.xreadgroup(G, "bert", {s: ">"})  # so that there is something to wait for
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while r.info("clients")["blocked_clients"] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    key = r.xadd(s, {"late": 1})
    for thread in threads:
        thread.join(20)
    check("two readers that waited", [entries(got[k], s)[0][0] for k in ("group", "read")], [key, key])
    began = time.monotonic()
    check("and one in vain", r.xreadgroup(G, "anna", {s: ">"}, block=50), {})
    check("not for long", 0.04 < time.monotonic() - began < 5, True)


def picture(r, s):
    full = r.execute_command("XINFO STREAM", s, "FULL", "COUNT", 0, full=True)
    return same_after_crash(full), r.xrange(s), r.xinfo_groups(s), rows(r, s)


def under_load(server, options):
    """Two producers and a worker, each with a connection of its own, while the server is killed."""
    options = {**options, "retry": Retry(NoBackoff(), 0)}
    s, answered, owned, acked = "load", {0: [], 1: []}, {}, set()
    redis.Redis(**options).xgroup_create(s, G, id="0", mkstream=True)
    stop = threading.Event()

    def produce(me):
        client, n = redis.Redis(**options), 0
        while not stop.is_set():
            answered[me].append(client.xadd(s, {"who": me, "n": n}))
            n += 1

    def work():
        client = redis.Redis(**options)
        while not stop.is_set():
            for key, fields in entries(client.xreadgroup(G, "worker", {s: ">"}, count=1, block=50), s):
                owned[key] = 1
                if int(fields["n"]) % 2:
                    client.xack(s, G, key)
                    acked.add(key)

    def until_it_dies(what, *args):
        try:
            what(*args)
        except redis.RedisError:
            pass

    threads = [threading.Thread(target=until_it_dies, args=a) for a in ((produce, 0), (produce, 1), (work,))]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    server.crash()
    stop.set()
    for thread in threads:
        thread.join(20)
    r = redis.Redis(**options)
    there = r.xrange(s)
    for me in (0, 1):
        mine = [(key, int(fields["n"])) for key, fields in there if int(fields["who"]) == me]
        count = len(answered[me])
        check(f"producer {me}: every answered entry, in order", mine[:count], list(zip(answered[me], range(count))))
        check("at most one that was not answered", len(mine) - count in (0, 1), True)
    pending = {row["message_id"]: row for row in r.xpending_range(s, G, min="-", max="+", count=1_000_000)}
    check("nothing acknowledged is back", acked & pending.keys(), set())
    open_ones = owned.keys() - acked
    missing = len(open_ones - pending.keys())
    check(f"{len(open_ones)} read and not acknowledged, all but at most one there", missing <= 1, True)
    check("at most one read without an answer", len(pending.keys() - owned.keys()) <= 1, True)
    owners = {(row["consumer"], row["times_delivered"]) for row in pending.values()}
    check("delivered once, to the worker", owners, {("worker", 1)})


def program(server, protocol):
    options = {"port": server.port, "protocol": protocol, "decode_responses": True, "legacy_responses": False}
    r = redis.Redis(**options)
    spoken = r.execute_command("HELLO")
    spoken = spoken if isinstance(spoken, dict) else dict(zip(spoken[::2], spoken[1::2]))
    check(f"RESP{protocol}", spoken["proto"], protocol)
    r.flushall()
    has = features(r.command_list(), r.info("server")["redis_version"])
    s = "orders"
    first = adding(r, s, has)
    groups(r, s, first, has)
    transactions(r, s)
    waiting(r, s)
    before, idle = picture(r, s), {row["message_id"]: row for row in r.xpending_range(s, G, "-", "+", 100)}
    server.crash(down=0.1)
    check("after kill -9 everything is as it was", picture(r, s), before)
    later = r.xpending_range(s, G, "-", "+", 100)
    # What is nobody's has no idle time.
    grown = [row["time_since_delivered"] - idle[row["message_id"]]["time_since_delivered"]
             for row in later if row["consumer"]]
    check("idle times have gone on counting", min(grown) >= (0 if UNHARMED else 100), True)
    if "idmp" in has:
        length = r.xlen("ids")
        r.xadd("ids", {"n": 3}, idmp=("producer", b"job-1"))
        check("IDMP still knows what it added", r.xlen("ids"), length)
    check("XINFO CONSUMERS", [c["name"] for c in r.xinfo_consumers(s, G)][:3], ["anna", "bert", "carl"])
    under_load(server, options)
    return has


def main():
    for protocol in (3, 2):
        print(f"RESP{protocol}")
        with Server() as server:
            has = program(server, protocol)
    print(f"redis-py {redis.__version__}, RESP3 and RESP2{left_out(has)}")


if __name__ == "__main__":
    main()
