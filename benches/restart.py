#!/usr/bin/env python3
"""Restart after kill -9: from starting the program to the first PONG, for claimlog and for redis-server.

    benches/restart.py [--entries 2000000] [--value-bytes 64] [--runs 5] [--claimlog target/release/claimlog]

The entries are written once, in pipelines of --pipeline, and the server is killed with kill -9. What it left is copied
for each run, so each run opens the same data, from the page cache. They take turns; the median counts. Rows:

    log        claimlog, everything in the log and no snapshot
    snapshot   claimlog as it comes, killed some seconds after the last reply: a snapshot, and the log since
    redis      appendonly yes, appendfsync always, killed some seconds after the last reply
    rewritten  the same after a BGREWRITEAOF: the quickest that Redis can be

It works in --dir, which must be on the disk to be measured.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time


REDIS = ("redis", "rewritten")


def free_port():
    """None of those that the kernel gives out itself: while the server is down, a connection could get its port."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def command(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
    """A server process on a directory."""

    def __init__(self, row, args, directory):
        self.row = row
        self.port = free_port()
        if row in REDIS:
            line = [args.redis, "--port", self.port, "--dir", directory, "--bind", "127.0.0.1", "--save", "",
                    "--appendonly", "yes", "--appendfsync", "always"]
        else:
            line = [args.claimlog, "serve", "--bind", "127.0.0.1", "--port", self.port, "--dir", directory]
            if row == "log":
                line += ["--snapshot-log-bytes", "64g"]
        self.output = open(os.path.join(args.dir, f"{row}.out"), "w", encoding="utf-8")
        self.began = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in line], stdout=self.output, stderr=self.output)

    def first_pong(self):
        """Seconds from the start to the first PONG; -LOADING does not count."""
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}, see {self.output.name}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
                    s.sendall(command("PING"))
                    if s.recv(64).startswith(b"+PONG"):
                        return time.monotonic() - self.began
            except OSError:
                pass
            time.sleep(0.001)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.output.close()


def fill(server, args):
    """Adds the entries; all are answered when it returns."""
    # Not all the same, so that nothing compresses away.
    values = [os.urandom((args.value_bytes + 1) // 2).hex()[: args.value_bytes] for _ in range(997)]
    adds = [command("XADD", "jobs", "*", "task", value) for value in values]
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        left, at = args.entries, 0
        while left > 0:
            count = min(left, args.pipeline)
            s.sendall(b"".join(adds[(at + i) % len(adds)] for i in range(count)))
            at, left = at + count, left - count
            answered = 0
            while answered < count:
                # Each reply is a length and an id, two lines.
                answered += s.recv(1 << 20).count(b"\n") / 2
        s.sendall(command("XLEN", "jobs"))
        length = s.recv(64)
        assert length == b":%d\r\n" % args.entries, length
        # Until what runs in the background is done.
        time.sleep(args.settle)
        if server.row == "rewritten":
            s.sendall(command("BGREWRITEAOF"))
            while True:
                time.sleep(0.2)
                s.sendall(command("INFO", "persistence"))
                if b"aof_rewrite_in_progress:0" in s.recv(1 << 16):
                    break


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--entries", type=int, default=2_000_000)
    parser.add_argument("--value-bytes", type=int, default=64)
    parser.add_argument("--pipeline", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--settle", type=float, default=5.0, help="seconds between the last reply and the kill")
    parser.add_argument("--rows", default="log,snapshot,redis,rewritten")
    parser.add_argument("--claimlog", default=os.path.join(here, "target/release/claimlog"))
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--dir", default=None, help="where to work; a new directory in /var/tmp if none is given")
    parser.add_argument("--keep", action="store_true", help="leave the data; what is there already is not written again")
    args = parser.parse_args()
    args.dir = args.dir or tempfile.mkdtemp(dir="/var/tmp")
    os.makedirs(args.dir, exist_ok=True)
    rows = args.rows.split(",")
    for row in rows:
        data = os.path.join(args.dir, row)
        if not os.path.isdir(data):
            os.makedirs(data)
            server = Server(row, args, data)
            server.first_pong()
            fill(server, args)
            server.kill()
    took = {row: [] for row in rows}
    for _ in range(args.runs):
        for row in rows:
            copy = os.path.join(args.dir, "run")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(os.path.join(args.dir, row), copy)
            os.sync()
            server = Server(row, args, copy)
            took[row].append(server.first_pong())
            server.kill()
    shutil.rmtree(os.path.join(args.dir, "run"), ignore_errors=True)
    if not args.keep:
        shutil.rmtree(args.dir)
    for row in rows:
        median = statistics.median(took[row])
        all_runs = " ".join(f"{seconds:.3f}" for seconds in took[row])
        beside = ""
        for other in (other for other in rows if other in REDIS and row not in REDIS):
            beside += f", {statistics.median(took[other]) / median:.2f} times as fast as {other}"
        print(f"{row:9} {median:.3f} s  ({all_runs}){beside}")


if __name__ == "__main__":
    main()
