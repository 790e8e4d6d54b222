"""A head, workers and an S3 server on hosts of their own, and runs on them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.testbed import Host, Testbed
from tests.testbed.ray import RayCluster
from tests.testbed.store import Store

SETUP = """
git config --global user.name a
git config --global user.email a@example.com
git init -q
dvc init -q
dvc remote add -q -d cloud {url}
{add}
git add -A
git commit -qm start
dvc push -q
rm -rf {add_path} .dvc/cache
"""


@dataclass
class Cloud:
    """A head, two workers, an S3 server."""

    testbed: Testbed
    head: Host
    workers: tuple[Host, ...]
    store: Store
    ray: RayCluster
    events: list[dict[str, Any]] = field(default_factory=list)
    """Of the last run."""

    def project(self, name: str, files: dict[str, str], add: str = "data") -> str:
        """Make a Git and DVC project on the head, its data (``add``) in the remote."""
        root = f"/root/{name}"
        url = self.store.bucket(f"bucket-{name}")
        for path, text in files.items():
            target = self.head.root / root.lstrip("/") / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        adding = f"dvc add -q {add}" if add else "true"
        script = SETUP.format(url=f"{url}/{name}", add=adding, add_path=add)
        self.head.sh(script, cwd=root, env=self.store.owner.variables())
        return root

    def run(self, root: str, *arguments: str, check: bool = True, env: dict[str, str] | None = None) -> dict[str, Any]:
        """Run dvc-ray on the head; its last event."""
        variables = {**self.ray.environment(), **(env or {})}
        done = self.head.run(*("dvc-ray", *arguments, "--json"), cwd=root, env=variables, check=False, timeout=500)
        self.events = events = [json.loads(line) for line in done.stdout.splitlines()]
        assert not check or done.returncode == 0, (done.stdout[-3000:], done.stderr)
        return events[-1] if events else {"error": done.stderr}


class Watched:
    """A `dvc-ray repro --json`, or another command, on the head."""

    def __init__(self, cloud: Cloud, root: str, *command: str, env: dict[str, str] | None = None) -> None:
        variables = {**cloud.ray.environment(), "PYTHONUNBUFFERED": "1", **(env or {})}
        self.process = cloud.head.spawn("dvc-ray", *(command or ("repro",)), "--json", cwd=root, env=variables)
        self.events: list[dict[str, Any]] = []

    def wait_for(self, stage: str, state: str) -> dict[str, Any]:
        """Wait until a stage comes to a state."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            event = self.events[-1]
            if event.get("stage") == stage and event.get("state") == state:
                return event
        raise AssertionError((self.events[-3:], self.process.communicate()))

    def finish(self) -> dict[str, Any]:
        """Wait for its end; the last event."""
        out, err = self.process.communicate(timeout=400)
        self.events += [json.loads(line) for line in out.splitlines()]
        ends = [event for event in self.events if event["event"] == "end"]  # after a failure, the error is last
        assert ends, (self.events[-3:], err)
        return ends[-1]

    def notices(self) -> str:
        return "\n".join(event.get("text", "") for event in self.events)
