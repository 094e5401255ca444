"""redis-py's asyncio client over RESP3 and RESP2: a group of workers on many connections, and kill -9 among them."""

import asyncio

import redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.asyncio.retry import Retry

from common import Server, check, entries, features, left_out, same_after_crash

S, G = "jobs", "workers"
WORKERS, JOBS = 4, 60


async def pending(r, **more):
    return {p["message_id"]: (p["consumer"], p["times_delivered"])
            for p in await r.xpending_range(S, G, min="-", max="+", count=100_000, **more)}


async def sharing(r):
    """Workers that wait together get every job once; half of them never acknowledge."""
    await r.xgroup_create(S, G, id="$", mkstream=True)

    async def work(me):
        mine = []
        while found := entries(await r.xreadgroup(G, f"w{me}", {S: ">"}, count=2, block=500), S):
            mine += [key for key, _ in found]
            if me % 2:
                await r.xack(S, G, *[key for key, _ in found])
        return mine

    workers = [asyncio.create_task(work(me)) for me in range(WORKERS)]
    await asyncio.sleep(0.1)
    added = await asyncio.gather(*(r.xadd(S, {"n": n}) for n in range(JOBS)))
    got = await asyncio.gather(*workers)
    check("every job once", sorted(key for mine in got for key in mine), sorted(added))
    left = {key: (f"w{me}", 1) for me in range(0, WORKERS, 2) for key in got[me]}
    check(f"{len(left)} are pending, with their owners", await pending(r), left)
    return left


async def claiming(r, left, has):
    """A reaper walks along the pending entries with XAUTOCLAIM."""
    cursor, claimed = "0-0", []
    while True:
        cursor, found, gone = await r.xautoclaim(S, G, "reaper", min_idle_time=40, start_id=cursor, count=7)
        check("nothing was deleted", gone, [])
        claimed += [key for key, _ in found]
        if cursor == "0-0":
            break
    check("the reaper has them all", claimed, sorted(left, key=lambda key: tuple(map(int, key.split("-")))))
    check("delivered twice", await pending(r), {key: ("reaper", 2) for key in left})
    check("by consumer", await pending(r, consumername="w0"), {})
    if claimed:
        check("XCLAIM", [key for key, _ in await r.xclaim(S, G, "last", 0, claimed[:1], retrycount=9)], claimed[:1])
    if "claim" in has:
        read = await r.xreadgroup(G, "second", {S: ">"}, count=3, claim_min_idle_time=0)
        check("XREADGROUP CLAIM", len(entries(read, S)), 3)


async def transactions(r):
    async with r.pipeline(transaction=True) as pipe:
        answers = await pipe.xadd(S, {"t": 1}).xlen(S).xack(S, G, "1-1").execute()
    check("MULTI", answers[2], 0)
    async with r.pipeline() as pipe:
        await pipe.watch(S)
        await r.xdel(S, answers[0])
        pipe.multi()
        pipe.xadd(S, {"lost": 1})
        try:
            await pipe.execute()
            check("EXEC after a change", "answered", "refused")
        except redis.WatchError:
            check("WATCH", await r.xrange(S, answers[0], "+"), [])


async def picture(r):
    full = same_after_crash(await r.xinfo_stream(S, full=True))
    return full, await r.xrange(S), await r.xinfo_groups(S), await pending(r)


async def under_load(server, options):
    """Claims going back and forth while the server is killed: who was answered is the owner, or who asked last."""
    r = Redis(**options)
    await r.delete(S)
    await r.xgroup_create(S, G, id="0", mkstream=True)
    keys = [await r.xadd(S, {"n": n}) for n in range(8)]
    await r.xreadgroup(G, "w0", {S: ">"})
    # By entry: the last answer, and what a call without an answer may have made of it.
    answered = {key: ("w0", 1) for key in keys}
    asked, stop = {}, asyncio.Event()

    async def tug(key, me):
        client = Redis(**options, retry=Retry(NoBackoff(), 0))
        try:
            while not stop.is_set():
                asked[key] = (f"w{me}", answered[key][1] + 1)
                await client.xclaim(S, G, f"w{me}", 0, [key])
                answered[key] = asked.pop(key)
                me = (me + 1) % WORKERS
        except redis.RedisError:
            pass
        finally:
            await client.aclose()

    tasks = [asyncio.create_task(tug(key, n % WORKERS)) for n, key in enumerate(keys)]
    await asyncio.sleep(0.4)
    await asyncio.to_thread(server.crash)
    stop.set()
    await asyncio.gather(*tasks)
    now = await pending(r)
    most = max(count for _, count in answered.values())
    wrong = {key: now.get(key) for key in keys if now.get(key) not in (answered[key], asked.get(key))}
    check(f"owner and count of every entry, claimed up to {most} times", wrong, {})
    check("the client goes on", len(await r.xack(S, G, *keys) and await r.xrange(S)), len(keys))
    await r.aclose()


async def program(server, protocol):
    options = {"port": server.port, "protocol": protocol, "decode_responses": True, "legacy_responses": False}
    r = Redis(**options)
    has = features(await r.command_list(), (await r.info("server"))["redis_version"])
    left = await sharing(r)
    await claiming(r, left, has)
    await transactions(r)
    before = await picture(r)
    await asyncio.to_thread(server.crash)
    # The same client: its pool finds out by itself that its connections are gone.
    check("after kill -9 everything is as it was", await picture(r), before)
    await r.aclose()
    await under_load(server, options)
    return has


def main():
    for protocol in (3, 2):
        print(f"RESP{protocol}")
        with Server() as server:
            has = asyncio.run(program(server, protocol))
    print(f"redis-py {redis.__version__} with asyncio, RESP3 and RESP2{left_out(has, of=['claim'])}")


if __name__ == "__main__":
    main()
