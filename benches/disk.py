#!/usr/bin/env python3
"""What claimlog writes for each byte of entries, and how much disk it takes.

    benches/disk.py [--gib 1] [--trim-rounds 1] [--claimlog target/release/claimlog] [-- more words for serve]

Entries of --value-bytes random bytes are added, 50 at a time, until --gib of values are there. Then --trim-rounds times as
many again while the stream is trimmed to what it has (MAXLEN ~): nothing should go on growing then. Printed at each of
--looks looks, in each round:

    added         GiB of values so far
    log, stores   bytes written to log/ and to snapshot/ for each byte of values, since the beginning
    log/, snapshot/   what they take on the disk (du), and in proportion to the values that the stream has
    RSS           of the process

Bytes written to the log are INFO's `claimlog_log_bytes_written`. All that the process wrote to files is `wchar` of
/proc/PID/io (sending to sockets is not in it); what the log did not is the stores'. `write_bytes` there would be what
reached the disk, but newer kernels count a page cache folio of up to some MiB as written for each block in it that is:
with --write-bytes it is shown all the same. Memory is needed for all values, so --gib 4 takes a
machine with 6 GiB to spare. It works in --dir, which must be on a disk.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from restart import command, free_port

GIB = 1 << 30


class Server:
    def __init__(self, args):
        self.port, self.dir = free_port(), os.path.join(args.dir, "data")
        line = [args.claimlog, "serve", "--bind", "127.0.0.1", "--port", self.port, "--dir", self.dir, *args.more]
        self.process = subprocess.Popen([str(word) for word in line], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the server does not start")

    def proc(self, file, name):
        """A number in a file of /proc/PID."""
        with open(f"/proc/{self.process.pid}/{file}", encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))

    def info(self):
        self.socket.sendall(command("INFO", "persistence"))
        text = self.socket.recv(1 << 16).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def used(self, part):
        """Bytes on the disk below a directory."""
        total = 0
        for folder, _, files in os.walk(os.path.join(self.dir, part)):
            for file in files:
                try:
                    total += os.stat(os.path.join(folder, file)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return total

    def settle(self):
        """Waits until no snapshot is being written and none is due."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.2)
            quiet = 0 if self.info()["rdb_bgsave_in_progress"] == "1" else quiet + 1


def add(server, count, values, options, at_a_time=50):
    adds = [command("XADD", "jobs", *options, "*", "data", value) for value in values]
    done = 0
    while done < count:
        some = min(at_a_time, count - done)
        server.socket.sendall(b"".join(adds[(done + i) % len(adds)] for i in range(some)))
        answered = 0
        while answered < 2 * some:
            # Each reply is a length and an id, two lines; an error would be one.
            reply = server.socket.recv(1 << 20)
            if not reply or reply.startswith(b"-"):
                raise SystemExit(f"refused: {reply[:200]!r}")
            answered += reply.count(b"\n")
        done += some


def look(server, name, added, held, start, counter):
    server.settle()
    info = server.info()
    log = int(info["claimlog_log_bytes_written"]) - start["log"]
    written = server.proc("io", counter) - start["written"]
    log_used, stores_used = server.used("log"), server.used("snapshot")
    print(
        f"{name:8} {added / GIB:6.2f} {log / added:6.2f} {(written - log) / added:7.2f} {written / added:6.2f}"
        f" {int(info['rdb_saves']):10} {log_used / GIB:8.2f} {stores_used / GIB:10.2f}"
        f" {(log_used + stores_used) / held:9.2f} {server.proc('status', 'VmRSS') / (1 << 20):7.2f}",
        flush=True,
    )


def main():
    words = sys.argv[1:]
    more = words[words.index("--") + 1 :] if "--" in words else []
    words = words[: words.index("--")] if "--" in words else words
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--value-bytes", type=int, default=1024)
    parser.add_argument("--trim-rounds", type=int, default=1)
    parser.add_argument("--looks", type=int, default=4)
    parser.add_argument("--write-bytes", dest="counter", action="store_const", const="write_bytes", default="wchar")
    parser.add_argument("--claimlog", default=os.path.join(here, "target/release/claimlog"))
    parser.add_argument("--dir", default=None, help="where to work; a new directory in /var/tmp if none is given")
    args = parser.parse_args(words)
    args.more = more
    with open("/proc/meminfo", encoding="utf-8") as lines:
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    if free < 1.5 * args.gib * GIB:
        raise SystemExit(f"{free / GIB:.1f} GiB of memory are free: too little for {args.gib} GiB of values")
    args.dir = args.dir or tempfile.mkdtemp(dir="/var/tmp")
    # Random, so that nothing compresses away.
    values = [os.urandom(args.value_bytes) for _ in range(2000)]
    server = Server(args)
    try:
        start = {"log": int(server.info()["claimlog_log_bytes_written"]), "written": server.proc("io", args.counter)}
        count = int(args.gib * GIB) // args.value_bytes
        step, added = count // args.looks, 0
        print("phase     added    log  stores    all  snapshots  log/ GiB  snap. GiB  of values  RSS GiB")
        phases = [("fill", []), *[("trim", ["MAXLEN", "~", count])] * args.trim_rounds]
        for phase, options in phases:
            for _ in range(args.looks):
                add(server, step, values, options)
                added += step * args.value_bytes
                look(server, phase, added, min(added, count * args.value_bytes), start, args.counter)
    finally:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        shutil.rmtree(args.dir)


if __name__ == "__main__":
    main()
