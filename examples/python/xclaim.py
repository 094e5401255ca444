"""A claim that survives kill -9, seen through redis-py.

A consumer reads a job and dies before it acknowledges; another one claims the job. Then the *server* is killed with
SIGKILL and started again: the job still belongs to the second consumer, was delivered as often as before, and its
idle time has gone on counting.

    python xclaim.py path/to/claimlog

Everything is done twice: over RESP3, which redis-py speaks by default, and over RESP2. The program ends with a
non-zero status as soon as something is not as it must be.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

import redis

STREAM, GROUP = "orders", "packers"


def free_port():
    """None of those that the kernel gives out itself: while the server is down, a connection could get its port."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A claimlog process on a directory of its own."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "serve", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.directory],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"claimlog ended with {self.process.returncode} instead of serving")
            try:
                with redis.Redis(port=self.port) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.01)
        sys.exit("claimlog does not answer")

    def kill(self):
        """No warning, no chance to write anything down."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=20) != 0:
            sys.exit(f"SIGTERM ended claimlog with {self.process.returncode}, not 0")


def expect(what, got, want):
    if got != want:
        sys.exit(f"MISMATCH: {what} is {got!r} and must be {want!r}")
    print(f"    {what}: {got}")


def pending(client):
    """The one row of the pending entries list, as XPENDING shows it."""
    rows = client.xpending_range(STREAM, GROUP, min="-", max="+", count=10)
    if len(rows) != 1:
        sys.exit(f"MISMATCH: one entry must be pending, there are {rows}")
    return rows[0]


def program(server, protocol):
    options = {"port": server.port, "decode_responses": True}
    if protocol is not None:
        options["protocol"] = protocol
    client = redis.Redis(**options)
    spoken = client.execute_command("HELLO")
    spoken = spoken if isinstance(spoken, dict) else dict(zip(spoken[::2], spoken[1::2]))
    expect("protocol spoken", spoken["proto"], protocol or 3)

    print("  A producer adds an order; consumer1 reads it and never acknowledges.")
    entry = client.xadd(STREAM, {"item": "book", "quantity": "2"})
    client.xgroup_create(STREAM, GROUP, id="0")
    reply = client.xreadgroup(GROUP, "consumer1", {STREAM: ">"}, count=1)
    streams = reply.items() if isinstance(reply, dict) else reply
    (name, entries), = streams
    # Over RESP3 redis-py wraps the entries of a stream in one more list.
    if len(entries) == 1 and isinstance(entries[0], list):
        entries, = entries
    expect("stream read", name, STREAM)
    expect("entry read", [tuple(e) for e in entries], [(entry, {"item": "book", "quantity": "2"})])
    row = pending(client)
    expect("pending at", row["consumer"], "consumer1")
    expect("times delivered", row["times_delivered"], 1)

    print("  consumer1 is gone for good; consumer2 claims what has been idle for 50 ms.")
    time.sleep(0.06)
    claimed = client.xclaim(STREAM, GROUP, "consumer2", min_idle_time=50, message_ids=[entry])
    claimed_at = time.monotonic()
    expect("claimed", [tuple(e) for e in claimed], [(entry, {"item": "book", "quantity": "2"})])
    before = pending(client)
    expect("pending at", before["consumer"], "consumer2")
    expect("times delivered", before["times_delivered"], 2)
    group_before = client.xinfo_groups(STREAM)
    client.close()

    print("  kill -9.")
    server.kill()
    time.sleep(0.25)
    server.start()
    print("  It is up again.")

    client = redis.Redis(**options)
    after = pending(client)
    gone_by = (time.monotonic() - claimed_at) * 1000
    expect("pending id", after["message_id"], entry)
    expect("pending at", after["consumer"], "consumer2")
    expect("times delivered", after["times_delivered"], 2)
    idle = after["time_since_delivered"]
    if not gone_by - 100 <= idle <= gone_by + 100:
        sys.exit(f"MISMATCH: {gone_by:.0f} ms have gone by since the claim, the idle time is {idle}")
    print(f"    idle time: {idle} ms ({gone_by:.0f} ms since the claim)")
    expect("group", client.xinfo_groups(STREAM), group_before)
    expect("nothing new for consumer1", bool(client.xreadgroup(GROUP, "consumer1", {STREAM: ">"})), False)
    expect("acknowledged", client.xack(STREAM, GROUP, entry), 1)
    expect("still pending", client.xpending(STREAM, GROUP)["pending"], 0)
    client.delete(STREAM)
    client.close()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="claimlog-") as directory:
        server = Server(sys.argv[1], os.path.join(directory, "data"))
        server.start()
        try:
            for protocol in (None, 2):
                print(f"redis-py {redis.__version__}, RESP{protocol or 3}" + ("" if protocol else " (default)"))
                program(server, protocol)
            server.stop()
        finally:
            if server.process.poll() is None:
                server.process.kill()
    print("OK: every claim was where it belongs.")


if __name__ == "__main__":
    main()
