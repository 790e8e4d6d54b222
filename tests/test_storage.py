"""Object stores, on a real S3 server."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.errors import CorruptObjectError, ObjectMissingError, StorageError, UnreachableError
from dvc_ray.repo.remote.remotes import DvcObjects
from dvc_ray.storage import Item, Objects, download, probe, upload
from dvc_ray.storage.messages import explained
from dvc_ray.storage.obstore_errors import failure
from dvc_ray.storage.s3 import PART, S3
from dvc_ray.storage.timeouts import QUICK
from dvc_ray.values.task import Remote
from tests.helpers.seaweed import Server

LARGE = 3 * PART + 12345


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of the machine's."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def remote(server: Server, folder: str = "project", **options: Any) -> Remote:
    known = {
        "endpointurl": server.url,
        "region": "us-east-1",
        "access_key_id": server.owner.key,
        "secret_access_key": server.owner.secret,
        **options,
    }
    return Remote(name="r", url=f"s3://bucket/{folder}", options=tuple(known.items()))


@pytest.fixture(params=["obstore", "s3fs", "path"])
def store(request: pytest.FixtureRequest, s3: Server, tmp_path: Path) -> Objects:
    """A store of each kind: the fast way, and DVC's own file systems."""
    if request.param == "path":
        return DvcObjects(Remote(name="r", url=str(tmp_path / "remote"), options=()))
    where = remote(s3, re.sub(r"\W", "-", request.node.name))
    return S3(where) if request.param == "obstore" else DvcObjects(where)


def files(folder: Path, *sizes: int) -> list[Item]:
    folder.mkdir()
    items = []
    for number, size in enumerate(sizes):
        path = folder / str(number)
        path.write_bytes(os.urandom(size))
        md5 = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324
        items.append(Item(key=f"files/md5/{md5[:2]}/{md5[2:]}", path=str(path), size=size, md5=md5))
    return items


def moved(items: list[Item], folder: Path) -> list[Item]:
    return [Item(key=item.key, path=str(folder / item.key), size=item.size, md5=item.md5) for item in items]


def test_what_is_stored_comes_back(store: Objects, tmp_path: Path) -> None:
    items = files(tmp_path / "there", 0, 1, 4096, PART, PART + 1, LARGE, 2 * PART, 4 * PART, *[100] * 48)
    upload(store, items)
    back = moved(items, tmp_path / "back")
    download(store, back)
    for item, copy in zip(items, back, strict=True):
        assert Path(copy.path).read_bytes() == Path(item.path).read_bytes()
        assert os.stat(copy.path).st_mode & 0o777 == 0o444
    assert {path.name[0] for path in (tmp_path / "back").rglob("*")}.isdisjoint({"."}), "no temporary file stays"
    assert store.size(items[5].key) == LARGE
    assert store.size("none") is None
    assert sorted(store.keys("files")) == sorted({item.key for item in items})
    without_size = [Item(key=item.key, path=str(tmp_path / "again" / item.key), md5=item.md5) for item in items]
    download(store, without_size)
    for item, copy in zip(items, without_size, strict=True):
        assert os.stat(copy.path).st_size == item.size


def test_a_damaged_object_is_refused(store: Objects, tmp_path: Path) -> None:
    (good, bad) = files(tmp_path / "there", 10, 20)
    upload(store, [good])
    store.write(bad.key, b"something else")
    back = moved([bad], tmp_path / "back")
    with pytest.raises(CorruptObjectError, match=rf"{bad.key}.*not that of its name"):
        download(store, back)
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == []


def test_a_missing_object_is_named(store: Objects, tmp_path: Path) -> None:
    items = files(tmp_path / "there", 10)
    with pytest.raises(ObjectMissingError, match=items[0].key):
        download(store, moved(items, tmp_path / "back"))


def test_which_object_of_a_folder_was_written_last(store: Objects) -> None:
    assert store.newest("runs/1f/key") is None
    for name in ("b", "a", "b"):  # times may have no more than seconds
        deadline = time.monotonic() + 20
        while store.newest("runs/1f/key") != f"runs/1f/key/{name}":
            store.write(f"runs/1f/key/{name}", b"entry")
            assert time.monotonic() < deadline, store.newest("runs/1f/key")


def test_a_probe_leaves_nothing(store: Objects) -> None:
    probe(store)
    assert list(store.keys("")) == []


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


CASES: dict[str, tuple[dict[str, str], str]] = {
    "wrong secret": ({"secret_access_key": "wrong"}, "does not accept the secret key"),
    "unknown key": ({"access_key_id": "NOBODY"}, "does not know the access key"),
    "refused": ({"endpointurl": "http://127.0.0.1:1"}, "refuses the connection|cannot be reached"),
    "unknown host": ({"endpointurl": "http://nowhere.invalid"}, "cannot be resolved|cannot be reached"),
}
Client = Callable[[Remote], Objects]


@pytest.fixture(params=["obstore", "s3fs"])
def client(request: pytest.FixtureRequest) -> Client:
    """Opens an S3 remote: the fast way, or by DVC's own file system, which goes for all other kinds of remotes."""
    return (lambda where: S3(where, QUICK)) if request.param == "obstore" else DvcObjects


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_work_is_said_soon(s3: Server, case: str) -> None:
    options, text = CASES[case]
    _refused(lambda where: S3(where, QUICK), remote(s3, **options), text, s3)


@pytest.mark.full
@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("wrong secret", "signature"),
        ("unknown key", "access key"),
        ("refused", "cannot be reached|does not answer"),
        ("unknown host", "cannot be reached|does not answer"),
    ],
)
def test_what_does_not_work_is_said_soon_by_dvc_too(s3: Server, case: str, text: str) -> None:
    _refused(DvcObjects, remote(s3, **CASES[case][0]), text, s3)


def test_a_server_that_is_silent(s3: Server, black_hole: str, client: Client) -> None:
    _refused(client, remote(s3, endpointurl=black_hole), "does not answer", s3)


def test_somebody_who_may_only_read(s3: Server, client: Client) -> None:
    options = {"access_key_id": s3.reader.key, "secret_access_key": s3.reader.secret}
    _refused(client, remote(s3, **options), "denies access|Access Denied", s3)


def test_a_bucket_that_is_not_there(s3: Server, client: Client) -> None:
    missing = Remote(name="r", url="s3://typo/project", options=remote(s3).options)
    _refused(client, missing, "bucket does not exist", s3)


def _refused(client: Client, where: Remote, text: str, server: Server) -> None:
    begun = time.monotonic()
    with pytest.raises(StorageError, match=text) as caught:
        probe(client(where), within=10)
    assert time.monotonic() - begun < 15
    message = str(caught.value)
    assert where.url in message
    assert socket.gethostname() in message
    assert caught.value.hint
    assert server.owner.secret not in message


def test_no_credentials(s3: Server) -> None:
    nobody = Remote(name="r", url="s3://bucket/x", options=(("endpointurl", s3.url),))
    with pytest.raises(StorageError, match="no AWS credentials for remote 'r'") as caught:
        S3(nobody)
    assert "dvc remote modify --local r profile" in caught.value.hint


def test_the_users_own_aws_configuration_is_read(s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text(f"[profile me]\nregion = us-east-1\nendpoint_url = {s3.url}\n")
    credentials.write_text(f"[me]\naws_access_key_id = {s3.owner.key}\naws_secret_access_key = {s3.owner.secret}\n")
    paths = (("configpath", str(config)), ("credentialpath", str(credentials)), ("profile", "me"))
    probe(S3(Remote(name="r", url="s3://bucket/x", options=paths)))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "me")
    probe(S3(Remote(name="r", url="s3://bucket/x")))


def test_an_outage_is_waited_out(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    (tmp_path / "s3").mkdir()
    own = Server(tmp_path / "s3")
    try:
        own.bucket("bucket")
        store = S3(remote(own))
        items = files(tmp_path / "there", *[1000] * 20)
        own.stop()
        failed: list[BaseException] = []
        work = threading.Thread(target=_noting(lambda: upload(store, items), failed))
        work.start()
        own.start()
        work.join(60)
        assert not work.is_alive()
        assert failed == []
        assert len(list(store.keys("files"))) == 20
    finally:
        own.stop()


def _noting(action: Callable[[], None], failed: list[BaseException]) -> Callable[[], None]:
    def run() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001  for the other thread to see
            failed.append(error)

    return run


MEASURE = """
import resource, sys
from dvc_ray.storage import Item, download, upload
from dvc_ray.storage.s3 import S3
from dvc_ray.values.task import Remote
import pickle
remote, items, back = pickle.load(open(sys.argv[1], "rb"))
store = S3(remote)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
upload(store, items)
download(store, back)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.full
def test_memory_is_bounded(s3: Server, tmp_path: Path) -> None:
    import pickle

    big = tmp_path / "big"
    digest = hashlib.md5()  # noqa: S324
    with big.open("wb") as file:
        for _ in range(64):
            block = os.urandom(16 << 20)
            digest.update(block)
            file.write(block)
    item = Item(key="big", path=str(big), size=1 << 30, md5=digest.hexdigest())
    back = Item(key="big", path=str(tmp_path / "back"), size=1 << 30, md5=digest.hexdigest())
    plan = tmp_path / "plan"
    plan.write_bytes(pickle.dumps((remote(s3, "memory"), [item], [back])))
    done = subprocess.run([sys.executable, "-c", MEASURE, plan], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300, "MiB beyond what the libraries take"


def test_the_number_of_a_port_is_no_status() -> None:
    text = "Generic S3 error: error sending request for url (http://127.0.0.1:40312/bucket/a) operation timed out"
    assert isinstance(explained(failure(OSError(text)), "s3://bucket"), UnreachableError)
    denied = failure(OSError("Client error with status 403 Forbidden: No Body"))
    assert "denies access" in explained(denied, "s3://bucket").what
