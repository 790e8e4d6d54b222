"""The testbed itself: hosts share nothing, faults are real, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import Host, Testbed, cgroups, has_netem
from tests.testbed.host import PROJECT


@pytest.fixture(scope="module")
def pair(testbed: Testbed) -> Iterator[tuple[Host, Host]]:
    one, two = testbed.host("one"), testbed.host("two")
    yield one, two
    testbed.remove(one)
    testbed.remove(two)


def test_hosts_share_no_file_no_process_and_no_name(pair: tuple[Host, Host], tmp_path: Path) -> None:
    one, two = pair
    (tmp_path / "here").touch()
    for folder in ("/root", "/tmp", "/home/ray", "/var/tmp", "/dev/shm", "/etc"):  # noqa: S108
        one.sh(f"echo x > {folder}/mine")
        assert two.run("test", "-e", f"{folder}/mine", check=False).returncode == 1
        assert not Path(folder, "mine").exists()
    assert one.run("test", "-e", str(tmp_path), check=False).returncode == 1
    assert one.run("touch", "/usr/mine", check=False).returncode == 1
    assert one.sh("hostname").strip() == "one"
    assert len(one.sh("ps -e -o pid=").split()) < 10
    assert one.sh(f"ls {sys.prefix}/bin/dvc-ray; dvc-ray --version")
    one.sh(f"touch {sys.prefix}/mine")
    assert not Path(sys.prefix, "mine").exists()


def test_hosts_reach_each_other_and_nothing_else(pair: tuple[Host, Host]) -> None:
    one, two = pair
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 22), timeout=5)"
    assert two.run("python3", "-c", connect, one.address).returncode == 0
    begun = time.monotonic()
    assert two.run("python3", "-c", connect, "198.51.100.1", check=False).returncode == 1
    assert time.monotonic() - begun < 4, "outside is refused, not waited for"


@pytest.mark.full
def test_ssh_and_rsync(pair: tuple[Host, Host], testbed: Testbed) -> None:
    one, two = pair
    (two.root / "root/.ssh/id").write_bytes(testbed.key.read_bytes())
    two.sh("chmod 600 .ssh/id; echo hello > file")
    login = "ssh -i .ssh/id -o StrictHostKeyChecking=no -o LogLevel=ERROR"
    assert two.sh(f"{login} ray@{one.address} \"bash -lc 'whoami; hostname; command -v dvc-ray'\"").split() == [
        "ray",
        "one",
        f"{sys.prefix}/bin/dvc-ray",
    ]
    two.sh(f"rsync -e '{login}' file root@{one.address}:copied")
    assert one.sh("cat /root/copied") == "hello\n"


CONNECT = """
import socket, sys, time
begun = time.monotonic()
socket.create_connection((sys.argv[1], 22), timeout=2).recv(10)
print(time.monotonic() - begun)
"""


def test_cut_and_heal(pair: tuple[Host, Host]) -> None:
    one, two = pair
    assert float(two.run("python3", "-c", CONNECT, one.address).stdout) < 1
    one.cut()
    assert "timed out" in two.run("python3", "-c", CONNECT, one.address, check=False).stderr
    one.heal()
    assert float(two.run("python3", "-c", CONNECT, one.address).stdout) < 2


@pytest.mark.full
def test_a_slow_network_and_its_bytes(pair: tuple[Host, Host]) -> None:
    one, two = pair
    one.sh("head -c 2000000 /dev/urandom > served")
    server = one.spawn("python3", "-m", "http.server", "8000")
    get = f"until curl -sf -o got http://{one.address}:8000/served; do sleep 0.1; done; stat -c %s got"
    assert two.sh(get) == "2000000\n"
    before, begun = one.traffic(), time.monotonic()
    one.slow(rate="8mbit")
    assert two.sh(get) == "2000000\n"
    assert time.monotonic() - begun > 1, "2 MB at 1 MB/s"
    one.slow()
    assert 2_000_000 < one.traffic() - before < 3_000_000
    server.kill()
    server.wait()


@pytest.mark.full
def test_a_far_network(pair: tuple[Host, Host]) -> None:
    if not has_netem():
        pytest.skip("this kernel has no netem (CONFIG_NET_SCH_NETEM): hosts cannot be far from each other here")
    one, two = pair
    one.slow(delay="150ms")
    assert float(two.run("python3", "-c", CONNECT, one.address).stdout) > 0.3
    one.slow()


@pytest.mark.full
def test_power_off_loses_what_runs_and_keeps_the_disk(testbed: Testbed) -> None:
    host = testbed.host("brief")
    host.sh("echo kept > file; nohup sleep 7733 > /dev/null 2>&1 &")
    host.kill()
    assert subprocess.run(["pgrep", "-f", "sleep 7733"], check=False).returncode == 1
    host.start()
    assert host.sh("cat file") == "kept\n"
    testbed.remove(host)
    assert not host.disk.exists()


@pytest.mark.full
def test_the_memory_of_a_host_is_its_own(testbed: Testbed) -> None:
    host = testbed.host("small", memory=200 << 20)
    if not host.has_memory_limit:
        pytest.skip("this machine has no memory controller for control groups")
    eat = "x = bytearray(400 << 20); print(len(x))"
    assert host.run("python3", "-c", eat, check=False).returncode in {137, -9}
    testbed.remove(host)


@pytest.mark.full
def test_s3_checks_keys_and_survives_a_restart(testbed: Testbed) -> None:
    store = testbed.store("s3-test")
    user = testbed.host("user", env=store.environment())
    store.bucket("one")
    put = "import boto3; boto3.client('s3').put_object(Bucket='one', Key='a/b', Body=b'x' * 10)"
    user.run("python", "-c", put)
    assert store.keys("one") == ["a/b"]
    refused = user.run("python", "-c", put, env={"AWS_SECRET_ACCESS_KEY": "wrong"}, check=False)
    assert "SignatureDoesNotMatch" in refused.stderr
    assert "AccessDenied" in user.run("python", "-c", put, env=store.reader.variables(), check=False).stderr
    store.stop()
    store.start()
    assert store.keys("one") == ["a/b"]
    testbed.remove(user)
    testbed.remove(store.host)


@pytest.mark.full
def test_credentials_and_spot_notice_from_the_metadata_service(testbed: Testbed) -> None:
    store = testbed.store("s3-role")
    store.bucket("role")
    metadata = testbed.metadata()
    metadata.grant(store.owner.key, store.owner.secret)
    node = testbed.host("node", env=store.place())
    put = "import boto3; boto3.client('s3').put_object(Bucket='role', Key='k', Body=b'')"
    node.run("python", "-c", put)
    assert store.keys("role") == ["k"]
    notice = "curl -s -w '%{http_code}' http://169.254.169.254/latest/meta-data/spot/instance-action"
    assert node.sh(notice) == "404"
    metadata.announce_end(node)
    assert '"action": "terminate"' in node.sh(notice)
    testbed.remove(node)
    testbed.remove(store.host)


@pytest.mark.full
def test_ec2_by_moto(testbed: Testbed) -> None:
    ec2 = testbed.ec2()
    host = testbed.host("caller", env={"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"})
    ask = "import boto3; print(len(boto3.client('ec2', 'us-east-1').describe_vpcs()['Vpcs']))"
    assert host.run("python", "-c", ask).stdout == "1\n"
    assert ec2.url.endswith(":5000")
    testbed.remove(host)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_whatever_ends_it(testbed: Testbed, number: signal.Signals) -> None:
    program = textwrap.dedent("""
        import signal
        from tests.testbed import Testbed
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a shell's background
        with Testbed() as testbed:
            host = testbed.host("left")
            waits = host.spawn("sleep", "7744")
            print(testbed.name, testbed.place, flush=True)
            waits.wait()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name, place = process.stdout.readline().split()
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while subprocess.run(["pgrep", "-f", "sleep 7744"], check=False, stdout=subprocess.DEVNULL).returncode == 0:
        assert time.monotonic() < deadline
    with Testbed() as another:
        assert another.place.parent == Path(place).parent
        assert not Path(place).exists()
    assert place not in Path("/proc/mounts").read_text()
    groups = [path for parent in cgroups.PARENTS for path in parent.glob(f"dvc-ray-{name}-*")]
    assert groups == []


@pytest.mark.full
def test_ray_on_hosts(testbed: Testbed) -> None:
    from tests.testbed.ray import RayCluster

    head, worker = testbed.host("ray-head"), testbed.host("ray-worker")
    cluster = RayCluster(head)
    cluster.join(worker, num_cpus=2)
    task = (
        "import ray, socket; ray.init(log_to_driver=False, logging_level='ERROR')\n"
        "print(ray.get(ray.remote(num_cpus=1)(lambda: socket.gethostname()).remote()))"
    )
    assert head.run("python", "-c", task, env=cluster.environment()).stdout == "ray-worker\n"
    refused = head.run("python", "-c", task, env={**cluster.environment(), "RAY_AUTH_TOKEN": "f" * 64}, check=False)
    assert refused.returncode != 0
    testbed.remove(worker)
    testbed.remove(head)
