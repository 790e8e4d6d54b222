"""A testbed to play in: `make testbed`."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys

from tests.testbed import Testbed, lacking
from tests.testbed.host import Host
from tests.testbed.ray import RayCluster

_HELP = """\
commands:
  HOST COMMAND…        run a command on a host, or a shell if none is given
  cut HOST             take it off the network           heal HOST   put it back
  slow HOST RATE       make its network slow: slow w1 10mbit; without RATE fast again
  kill HOST            power off, the disk stays         start HOST  switch it on again
  ray                  start Ray on all hosts but the S3 server
  hosts                names and addresses
  exit                 take all of it down; as Ctrl-D
"""


def main() -> int:
    """Make hosts, take commands, take all down."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="worker hosts beside the head (default: 2)")
    arguments = parser.parse_args()
    if why := lacking():
        print(f"ERROR: {why}", file=sys.stderr)
        return 1
    with Testbed() as testbed:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("Starting an S3 server …", flush=True)
        store = testbed.store()
        store.bucket("bucket")
        for name in ("head", *(f"w{number + 1}" for number in range(arguments.workers))):
            print(f"Booting {name} …", flush=True)
            testbed.host(name, env=store.environment())
        print(
            f"\nAn empty bucket: s3://bucket at {store.url}; the hosts' environment has the keys.\n{_HELP}", flush=True
        )
        _Shell(testbed).run()
        print("Taking it down …", flush=True)
    return 0


class _Shell:
    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed

    def run(self) -> None:
        while True:
            try:
                words = shlex.split(input("testbed> "))
            except (EOFError, KeyboardInterrupt):
                print()
                return
            except ValueError as error:
                print(error)
                continue
            if words[:1] in (["exit"], ["quit"]):
                return
            if words:
                try:
                    self._do(words)
                except (AssertionError, KeyboardInterrupt) as error:
                    print(error or "interrupted")

    def _do(self, words: list[str]) -> None:
        name, *rest = words
        actions = {"cut": Host.cut, "heal": Host.heal, "kill": Host.kill, "start": Host.start}
        if name == "hosts":
            for host in self._testbed.hosts.values():
                print(f"{host.name:8} {host.address:14} {'on' if host.is_on else 'off'}")
        elif name == "ray":
            self._start_ray()
        elif name in actions and rest:
            actions[name](self._host(rest[0]))
        elif name == "slow" and rest:
            self._host(rest[0]).slow(rate=rest[1] if rest[1:] else None)
        elif name in self._testbed.hosts:
            _attend(self._host(name), rest or ["bash", "-l"])
        else:
            print(_HELP)

    def _host(self, name: str) -> Host:
        assert name in self._testbed.hosts, f"no host '{name}'; there are {', '.join(self._testbed.hosts)}"
        return self._testbed.hosts[name]

    def _start_ray(self) -> None:
        head, *workers = [host for host in self._testbed.hosts.values() if host.name != "s3"]
        cluster = RayCluster(head)
        for host in workers:
            cluster.join(host, num_cpus=2)
        print(f"Ray is up: head bash -c 'ray status', or dvc-ray repro --address {cluster.address} on the head.")


def _attend(host: Host, command: list[str]) -> None:
    """Run a command in this terminal."""
    process = subprocess.Popen(host.argv(command, env={"TERM": os.environ.get("TERM", "dumb")}))
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):  # it is the command's
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
