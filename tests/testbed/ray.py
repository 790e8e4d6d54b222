"""Ray on hosts, started as by hand: a head that runs no tasks, workers that join it, tokens on."""

from __future__ import annotations

import json
import secrets
import sysconfig
from collections.abc import Mapping
from typing import Any, Final

from tests.testbed.host import Host

_PORT: Final = 6379
_HEAD_ID: Final = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The provider for tests takes no other."""
_LEFT_OUT: Final = "ray/autoscaler/_private/fake_multi_node/example.yaml"
"""Defaults of that provider, which are not in Ray's wheel (2.60.0)."""
_AUTOSCALER: Final = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}


class RayCluster:
    """A Ray cluster on hosts.

    Args:
        head: Where its head runs, and the user's dvc-ray.
        dashboard: Whether it has one, which Ray Jobs need; it takes seconds to start.
        node_types: What its autoscaler may start, by name; as processes of the head's host, for want of a cloud.
        env: Variables with which its head starts: Ray's own settings.
    """

    def __init__(
        self,
        head: Host,
        *,
        dashboard: bool = False,
        node_types: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.head = head
        self.token = secrets.token_hex(32)
        self._give_token(head)
        options = ["--head", f"--port={_PORT}", "--num-cpus=0", f"--include-dashboard={str(dashboard).lower()}"]
        if node_types is None:
            self._start(head, *options, env=env)
        else:
            (head.root / "root/autoscaling.json").write_text(json.dumps(_autoscaling(node_types)))
            head.sh(f"cp autoscaling.json {sysconfig.get_path('purelib')}/{_LEFT_OUT}")
            self._start(
                head, *options, "--autoscaling-config=/root/autoscaling.json", env={**_AUTOSCALER, **(env or {})}
            )

    @property
    def address(self) -> str:
        """Where drivers join it."""
        return f"{self.head.address}:{_PORT}"

    def join(
        self,
        host: Host,
        *,
        num_cpus: int,
        labels: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Have a host join it as a worker node."""
        self._give_token(host)
        marks = [f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []
        self._start(host, f"--address={self.address}", f"--num-cpus={num_cpus}", *marks, *options, env=env)

    def environment(self) -> dict[str, str]:
        """Variables of a driver."""
        return {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": self.address}

    def nodes(self) -> dict[str, bool]:
        """The nodes it knows by address, and whether each is alive."""
        script = (
            "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR')\n"
            "print(json.dumps({node['NodeManagerAddress']: node['Alive'] for node in ray.nodes()}))"
        )
        found: dict[str, bool] = json.loads(self.head.run("python", "-c", script, env=self.environment()).stdout)
        return found

    def _give_token(self, host: Host) -> None:
        folder = host.root / "root/.ray"
        folder.mkdir(exist_ok=True)
        (folder / "auth_token").write_text(self.token)

    def _start(self, host: Host, *options: str, env: Mapping[str, str] | None = None) -> None:
        # Workers do not look for the token by themselves: without RAY_AUTH_MODE the head refuses them.
        host.run(
            *("ray", "start", *options, f"--node-ip-address={host.address}", "--disable-usage-stats"),
            env={"RAY_AUTH_MODE": "token", **(env or {})},
        )


def _autoscaling(node_types: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A configuration of Ray's autoscaler with its own provider for tests (``fake_multinode``, 2.60)."""
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "testbed",
        "max_workers": 8,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": _HEAD_ID},
        "available_node_types": {**{name: dict(kind) for name, kind in node_types.items()}, "ray.head.default": head},
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    }
