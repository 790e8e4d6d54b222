"""Hosts for the tests of this folder: one testbed for all of them."""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.testbed import Host, Testbed, lacking
from tests.testbed.ray import RayCluster
from tests.testbed.store import Store


@pytest.fixture(scope="package")
def testbed() -> Iterator[Testbed]:
    """The hosts' network; the tests make their hosts themselves, or share those of other fixtures."""
    if why := lacking():
        assert "CI" not in os.environ, f"must run in CI: {why}"
        pytest.skip(f"no test hosts: {why}")
    with Testbed() as made:
        yield made


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


@pytest.fixture(scope="package")
def cloud(testbed: Testbed) -> Iterator[Cloud]:
    store = testbed.store("cluster-s3")
    head = testbed.host("head", env=store.environment())
    workers = testbed.host("w1", env=store.environment()), testbed.host("w2", env=store.environment())
    # One of the workers has no dvc-ray: it gets that with the run.
    workers[0].sh(f"rm -r {sysconfig.get_path('purelib')}/*dvc_ray*; ! python -c 'import dvc_ray'")
    ray = RayCluster(head)
    for worker in workers:
        ray.join(worker, num_cpus=1)
    yield Cloud(testbed, head, workers, store, ray)
    for host in (head, *workers, store.host):
        testbed.remove(host)
