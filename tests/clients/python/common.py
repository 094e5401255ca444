"""What the Python programs share: a server that can be killed, and checks that end the program."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

# A redis-server to run instead of claimlog, and whether it is spared the kill.
REDIS = os.environ.get("CLAIMLOG_CLIENTS_REDIS")
UNHARMED = os.environ.get("CLAIMLOG_CLIENTS_SELF") == "1"

# The command that tells whether a server has it, or since which version, where it is an option.
FEATURES = {
    "xdelex": "XDELEX",
    "xackdel": "XACKDEL",
    "ref_policy": (8, 2),
    "claim": (8, 4),
    "xcfgset": "XCFGSET",
    "idmp": (8, 6),
    "xnack": "XNACK",
    "max_count": (8, 10),
}


def free_port():
    """None of those that the kernel gives out itself: while the server is down, a connection could get its port."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server process on a directory of its own, gone with the `with` block."""

    def __enter__(self):
        self.own = tempfile.TemporaryDirectory(prefix="clients-")
        self.port = free_port()
        self.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.process.send_signal(signal.SIGTERM)
            check("SIGTERM ends the server", self.process.wait(timeout=20), 0)
        elif self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.own.cleanup()

    def start(self):
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.own.name]
        command = [REDIS, "--save", ""] if REDIS else [os.environ["CLAIMLOG_BINARY"], "serve"]
        self.process = subprocess.Popen(command + where, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"the server ended with {self.process.returncode} instead of serving")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as raw:
                    raw.sendall(b"PING\r\n")
                    if raw.recv(16) == b"+PONG\r\n":
                        return
            except OSError:
                pass
            time.sleep(0.01)
        sys.exit("the server does not answer")

    def crash(self, down=0.0):
        """No warning, no chance to write anything down; then again on the same directory, after `down` seconds."""
        if UNHARMED:
            return
        self.process.kill()
        self.process.wait()
        time.sleep(down)
        self.start()


def check(what, got, want):
    if got != want:
        sys.exit(f"MISMATCH: {what}\n    is      {got!r}\n    must be {want!r}")
    print(f"    {what}")


def entries(reply, stream):
    """The entries of one stream in a reply of XREAD or XREADGROUP."""
    return reply[stream] if reply else []


def features(commands, version):
    """What the server has, by its COMMAND LIST and its redis_version."""
    commands = {name.upper() for name in commands}
    version = tuple(int(part) for part in version.split(".")[:2])
    return {name for name, told in FEATURES.items() if told in commands or (type(told) is tuple and version >= told)}


def left_out(has, of=FEATURES):
    """For the last line."""
    absent = [name for name in of if name not in has]
    return f"; not there yet: {', '.join(absent)}" if absent else ""


def same_after_crash(full):
    """What of XINFO STREAM FULL must be the same after a crash: all but when consumers were seen, and statistics."""
    full = {k: v for k, v in full.items() if not k.startswith("radix-tree")}
    groups = full["groups"]
    for consumer in (consumer for group in groups for consumer in group["consumers"]):
        for moment in ("seen-time", "active-time"):
            consumer.pop(moment, None)
            consumer.pop(moment.encode(), None)
    return full
