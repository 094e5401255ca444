"""walrus, over RESP3 (its default with this redis-py) and RESP2: groups over two streams, time series, and kill -9."""

import datetime
import time

import redis
import walrus

from common import Server, check

TASKS = ["resize", "rename", "remove"]


def ids(messages):
    return [key for key, _ in messages]


def who(stream):
    return [(p["message_id"], p["consumer"], p["times_delivered"]) for p in stream.pending()]


def group(db):
    anna = db.consumer_group("crew", ["jobs", "mails"], consumer="anna")
    check("a group over two streams", anna.create(), {"jobs": True, "mails": True})
    check("the same again", anna.create(), {"jobs": False, "mails": False})
    check("from the start", anna.set_id("0-0"), {"jobs": True, "mails": True})
    jobs = [anna.jobs.add({"task": task}) for task in TASKS]
    mails = [anna.mails.add({"to": "carl"}, maxlen=10, approximate=False)]
    read = dict(anna.read(count=2))
    check("anna reads both", (ids(read[b"jobs"]), ids(read[b"mails"])), (jobs[:2], mails))
    check("and the rest of one", ids(anna.jobs.read(block=10)), jobs[2:])
    check("nothing more", (anna.jobs.read(), anna.read(block=10)), ([], []))
    bert = anna.consumer("bert")
    check("bert claims one", bert.jobs.claim(jobs[0], min_idle_time=0), [(jobs[0], {b"task": b"resize"})])
    time.sleep(0.05)
    check("who is idle", [p["message_id"] for p in anna.jobs.pending(idle=40, consumer="anna")], jobs[1:])
    check("carl claims what he finds", ids(bert.jobs.autoclaim("carl", 40, jobs[2])[1]), jobs[2:])
    check("anna's history", ids(anna.jobs.read(last_id="0-0")), [jobs[1]])
    check("two acknowledged", (anna.jobs.ack(jobs[1]), anna.mails.ack(*mails)), (1, 1))
    want = [(jobs[0], b"bert", 2), (jobs[2], b"carl", 2)]
    check("who has what", (who(anna.jobs), who(anna.mails)), (want, []))
    return anna, bert, jobs, want


def as_container(db, jobs):
    stream = db.Stream("jobs")
    check("like a list", (len(stream), stream.get(jobs[0]), ids(stream[jobs[1]:])),
          (3, (jobs[0], {b"task": b"resize"}), jobs[1:]))
    check("iterated", ids(stream), jobs)
    check("read on", ids(stream.read(last_id=jobs[1])), jobs[2:])
    info = stream.info()
    check("XINFO STREAM", (info["length"], info["last-generated-id"], info["first-entry"][0]), (3, jobs[2], jobs[0]))
    check("XINFO GROUPS", [(g["name"], g["pending"], g["last-delivered-id"]) for g in stream.groups_info()],
          [(b"crew", 2, jobs[2])])
    check("XINFO CONSUMERS", [(c["name"], c["pending"]) for c in stream.consumers_info("crew")],
          [(b"anna", 0), (b"bert", 1), (b"carl", 1)])


def series(db):
    """Entries by date, two sensors in one group."""
    sensors = db.time_series("climate", ["inside", "outside"])
    check("a time series", sensors.create(), {"inside": True, "outside": True})
    noon = datetime.datetime(2026, 1, 1, 12)
    for minute in range(3):
        at = noon + datetime.timedelta(minutes=minute)
        check(f"12:0{minute}", sensors.inside.add({"t": 20 + minute}, id=at), (at, 0))
        sensors.outside.add({"t": minute}, id=(at, 5))
    got = sensors.read()
    check("in order of time", [(m.stream, m.data["t"], m.sequence) for m in got[:2]],
          [("inside", "20", 0), ("outside", "0", 5)])
    check("a range", [m.timestamp.minute for m in sensors.inside.range(noon + datetime.timedelta(minutes=1))], [1, 2])
    check("acknowledged", sensors.inside.ack(*[m for m in got if m.stream == "inside"]), 3)
    left = sensors.outside.pending()
    check("the others are pending", [(at.minute, seq, name, times) for (at, seq), name, _, times in left],
          [(minute, 5, "climate.c1", 1) for minute in range(3)])
    return sensors


def program(server, options):
    db = walrus.Database(port=server.port, **options)
    anna, bert, jobs, want = group(db)
    as_container(db, jobs)
    sensors = series(db)

    def everything():
        pending = who(anna.jobs), who(anna.mails), [at for at, *_ in sensors.outside.pending()]
        return pending, list(anna.jobs), list(anna.mails), db.Stream("jobs").groups_info()

    before = everything()
    server.crash()
    check("after kill -9 everything is as it was", everything(), before)
    check("bert has his", (who(anna.jobs), ids(bert.jobs.read(last_id="0-0"))), (want, jobs[:1]))
    check("the group goes on", bert.jobs.read(), [])
    late = bert.jobs.add({"task": "late"})
    check("a new one is anna's", ids(anna.jobs.read(count=5, block=1000)), [late])
    check("carl leaves his behind", anna.jobs.delete_consumer("carl"), 1)
    check("all done", (bert.jobs.ack(jobs[0], late), who(anna.jobs), anna.destroy()), (2, [], {"jobs": 1, "mails": 1}))


def main():
    for options in ({}, {"protocol": 2}):
        print(options or "as walrus connects by itself")
        with Server() as server:
            program(server, options)
    print(f"walrus {walrus.__version__} on redis-py {redis.__version__}, RESP3 and RESP2")


if __name__ == "__main__":
    main()
