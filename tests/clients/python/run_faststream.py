"""FastStream workers on a stream group: one dies in the middle of a job, another claims it, and the server is killed.

Each worker is a process of its own (this file again, with `worker` in front), which says on its output what it does.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from queue import Empty, Queue

import redis
from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub

from common import Server, check, features, left_out

S, G = "jobs", "crew"


def worker(url, consumer, *options):
    """Handles jobs until it is told to end. `die=2`: by SIGKILL in job 2; `ask=2`: waits in job 2 for a line."""
    options = dict(option.split("=") for option in options)
    die, *asking = (int(options.pop(name, 0)) for name in ("die", "ask"))
    broker = RedisBroker(url, logger=None)
    app = FastStream(broker, logger=None)
    numbers = {name: int(value) for name, value in options.items()}
    stream = StreamSub(S, group=G, consumer=consumer, max_records=1, polling_interval=50, **numbers)

    @broker.subscriber(stream=stream, ack_policy=AckPolicy.NACK_ON_ERROR)
    async def handle(job: int):
        if job == die:
            os.kill(os.getpid(), signal.SIGKILL)
        if job in asking:
            asking.remove(job)
            print("has", job, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print("done", job, flush=True)

    @app.after_startup
    async def started():
        print("ready", flush=True)

    logging.disable(logging.CRITICAL)
    asyncio.run(app.run())


class Worker:
    # What one of them has said.
    done = set()

    def __init__(self, url, consumer, *options):
        self.name = consumer
        command = [sys.executable, __file__, "worker", url, consumer, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def says(self, *wanted):
        for line in wanted:
            try:
                got = self.lines.get(timeout=20)
                # Where an acknowledgement went to the server that was killed, a job is rightly done once more.
                while got in self.done:
                    got = self.lines.get(timeout=20)
                check(f"{self.name}: {line}", got, line)
                self.done |= {got} - {"ready"}
            except Empty:
                sys.exit(f"MISMATCH: {self.name} never says {line!r}; it has ended with {self.process.poll()}")

    def go_on(self):
        self.process.stdin.write("\n")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


def publish(url, *jobs):
    async def send():
        async with RedisBroker(url, logger=None) as broker:
            return [(await broker.publish(job, stream=S)).decode() for job in jobs]

    return asyncio.run(send())


def program(server, options, workers):
    url = f"redis://127.0.0.1:{server.port}{options}"
    r = redis.Redis(port=server.port, decode_responses=True)

    def start(consumer, *options):
        workers.append(Worker(url, consumer, *options))
        return workers[-1]

    def pending():
        return [(p["message_id"], p["consumer"], p["times_delivered"]) for p in r.xpending_range(S, G, "-", "+", 10)]

    def becomes(what, read, want):
        deadline = time.monotonic() + 10
        while read() != want and time.monotonic() < deadline:
            time.sleep(0.01)
        check(what, read(), want)

    anna, bert = start("anna", "die=2"), start("bert", "min_idle_time=200", "ask=2")
    anna.says("ready")
    bert.says("ready")
    one, two = publish(url, 1, 2)
    anna.says("done 1")
    check("anna dies in job 2", anna.process.wait(timeout=20), -signal.SIGKILL)
    bert.says("has 2")
    check("bert has claimed it", pending(), [(two, "bert", 2)])
    server.crash()
    check("after kill -9 of the server too", pending(), [(two, "bert", 2)])
    check("job 1 is done", (r.xlen(S), [g["last-delivered-id"] for g in r.xinfo_groups(S)]), (2, [two]))
    bert.go_on()
    bert.says("done 2")
    becomes("bert acknowledges, over a new connection, perhaps when he has claimed it from himself", pending, [])

    carl = start("carl", "die=5")
    carl.says("ready")
    publish(url, 3)
    carl.says("done 3")
    becomes("and acknowledged", pending, [])
    server.crash(down=0.3)
    publish(url, 4)
    carl.says("done 4")
    becomes("carl has found the server again", pending, [])
    (five,) = publish(url, 5)
    check("carl dies in job 5", carl.process.wait(timeout=20), -signal.SIGKILL)
    has = features(r.command_list(), r.info("server")["redis_version"])
    if "claim" in has:
        bert.end()
        dora = start("dora", "claim_min_idle_time=100", "ask=5")
        dora.says("ready", "has 5")
        check("dora has claimed it while reading", pending(), [(five, "dora", 2)])
        dora.go_on()
        dora.says("done 5")
        publish(url, 6)
        dora.says("done 6")
    else:
        bert.says("done 5")
    becomes("all is done", pending, [])
    check("in order, once", r.xinfo_groups(S)[0]["entries-read"], r.xlen(S))
    return has


def main():
    # By itself it speaks RESP3 and gets the shapes of RESP2 from redis-py; with protocol=3 it could not read them.
    for options in ("", "?protocol=2"):
        print(options or "as FastStream connects by itself")
        workers = []
        Worker.done.clear()
        try:
            with Server() as server:
                has = program(server, options, workers)
        finally:
            for one in workers:
                one.process.kill()
                one.process.wait()
    absent = left_out(has, of=["claim"])
    print(f"FastStream {version('faststream')} on redis-py {redis.__version__}, RESP3 and RESP2{absent}")


if __name__ == "__main__":
    worker(*sys.argv[2:]) if sys.argv[1:2] == ["worker"] else main()
