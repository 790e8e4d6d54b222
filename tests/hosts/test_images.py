"""Stages in containers: Ray starts their workers with podman, in the image that their runtime_env names."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator

import pytest

from tests.helpers.cloud import Cloud
from tests.testbed import Host
from tests.testbed.host import PROJECT
from tests.testbed.needs import find

pytestmark = [pytest.mark.full, pytest.mark.long]

NEEDED = {"podman": "podman", "crun": "crun", "newuidmap": "uidmap"}
"""Commands and the Debian packages that have them."""
PIPELINE = """
stages:
  boxed:
    cmd: cat /etc/inside data/in.txt > boxed.txt; command -v python; echo "word $WORD"
    deps: [data]
    outs: [boxed.txt]
    meta:
      ray:
        label_selector: {podman: "yes"}
        runtime_env: {image_uri: localhost/boxed, env_vars: {WORD: hush}}
  after: {cmd: test ! -e /etc/inside && cat boxed.txt > after.txt, deps: [boxed.txt], outs: [after.txt]}
"""
SET_UP = """
chmod 711 /root
echo ray:100000:65536 | tee /etc/subuid > /etc/subgid
mkdir -p /dev/mqueue /run/user/1000 /home/ray/.ray /home/ray/.config/containers
mount -t mqueue none /dev/mqueue
cp .ray/auth_token /home/ray/.ray/
cat > /home/ray/.config/containers/storage.conf <<< '[storage]
driver = "vfs"'
cat > /home/ray/.config/containers/containers.conf <<< '{settings}'
chown -R ray: /home/ray /run/user/1000
"""
IMAGE = """
mkdir -p image/etc image/tmp image/proc image/dev image/sys image/run image/home/ray && cd image
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
echo an image > etc/inside
tar -c . | podman import --change 'ENV PATH={path}' - localhost/boxed
"""


@pytest.fixture
def boxed(cloud: Cloud) -> Iterator[Host]:
    """A worker node whose Ray belongs to a user who may use podman."""
    if missing := {command: package for command, package in NEEDED.items() if find(command) is None}:
        pytest.skip(f"no {', '.join(missing)}: apt-get install --no-install-recommends {' '.join(missing.values())}")
    host = cloud.testbed.host("boxed", env=cloud.store.environment())
    (host.root / "root/.ray").mkdir()
    (host.root / "root/.ray/auth_token").write_text(cloud.ray.token)
    # The image has what is its own only; the rest it shares with the host, which spares gigabytes.
    seen = {"/usr", os.path.realpath(sys.base_prefix), sys.prefix, str(PROJECT / "src")}
    volumes = ", ".join(f'"{path}:{path}:ro"' for path in sorted(seen))
    settings = f'[containers]\nvolumes = [{volumes}]\nnetns = "host"\n[engine]\nruntime = "crun"'
    host.sh(SET_UP.format(settings=settings))
    as_ray(host, IMAGE.format(path=f"{sysconfig.get_path('scripts')}:/usr/bin"))
    as_ray(
        host,
        f"ray start --address={cloud.ray.address} --num-cpus=1 --labels=podman=yes --disable-usage-stats"
        f" --node-ip-address={host.address}",
    )
    yield host
    cloud.testbed.remove(host)


def as_ray(host: Host, script: str) -> str:
    """Run a script as that user."""
    variables = {"HOME": "/home/ray", "USER": "ray", "XDG_RUNTIME_DIR": "/run/user/1000", "RAY_AUTH_MODE": "token"}
    user = ("setpriv", "--reuid=1000", "--regid=1000", "--init-groups")
    return host.run(*user, "bash", "-ec", script, cwd="/home/ray", env=variables).stdout


def test_a_stage_runs_in_an_image(cloud: Cloud, boxed: Host) -> None:
    """Its data comes from the remote and goes there; what is to outlive the container is in Ray's folder."""
    root = cloud.project("boxed", {"dvc.yaml": PIPELINE, "data/in.txt": "in\n"})
    keys = cloud.store.owner.variables()
    for name, key in (("access_key_id", "AWS_ACCESS_KEY_ID"), ("secret_access_key", "AWS_SECRET_ACCESS_KEY")):
        cloud.head.sh(f"dvc remote modify --local cloud {name} {keys[key]}", cwd=root)
    cloud.head.sh(f"dvc remote modify cloud endpointurl {cloud.store.url}; git commit -qam where", cwd=root)

    end = cloud.run(root, "repro")
    assert {stage["stage"]: stage["state"] for stage in end["stages"][1:]} == {"boxed": "done", "after": "done"}
    assert end["stages"][1]["node"] == "boxed"
    printed = [event["text"] for event in cloud.events if event["event"] == "output" and event["stage"] == "boxed"]
    assert "".join(printed) == f"{sysconfig.get_path('scripts')}/python\nword hush\n"
    cloud.head.sh("dvc pull -q", cwd=root)
    assert cloud.head.sh("cat after.txt; dvc status", cwd=root) == "an image\nin\nData and pipelines are up to date.\n"
    assert len(as_ray(boxed, "find /tmp/ray/dvc-ray-*/cache/files -type f").split()) >= 2
