"""Rules of a bucket that remove what is old, asked of moto, which checks who asks (signature and policy)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.driver.retention import Retention
from dvc_ray.repo.remote.remotes import DvcObjects
from dvc_ray.storage.lifecycle import RuleState, covers, expires
from dvc_ray.storage.s3 import S3
from dvc_ray.values.task import Remote
from tests.helpers.seaweed import Server

NOW = datetime(2026, 11, 28, tzinfo=UTC)
MONTH = {"Days": 30}


def rule(about: dict[str, Any], *, expiration: dict[str, Any] | None = None, status: str = "Enabled") -> dict[str, Any]:
    return {"ID": "a", "Status": status, **about, "Expiration": MONTH if expiration is None else expiration}


ALL = {"Filter": {"Prefix": ""}}
AND = {"Prefix": "p/.dvc-ray/"}


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([], False),
        ([rule({"Filter": {"Prefix": "p/.dvc-ray/"}})], True),
        ([rule({"Filter": {"Prefix": "p/.dvc-ray/runs/"}})], True),
        ([rule({"Filter": {"Prefix": "p/.dvc-"}})], True),
        ([rule({"Filter": {"Prefix": "p/.dvc-ray/runs/2026"}})], False),
        ([rule({"Filter": {"Prefix": ".dvc-ray/"}})], False),
        ([rule({"Filter": {"Prefix": "/p/.dvc-ray/"}})], False),
        ([rule(ALL)], True),
        ([rule({"Filter": {}})], True),
        ([rule({})], True),
        ([rule({"Prefix": "p/"})], True),
        ([rule({"Prefix": "q/"})], False),
        ([rule({"Filter": {"And": AND}})], True),
        ([rule({"Filter": {"And": {**AND, "Tags": [{"Key": "a", "Value": "b"}]}}})], False),
        ([rule({"Filter": {"And": {**AND, "ObjectSizeGreaterThan": 1}}})], False),
        ([rule({"Filter": {"And": {"Prefix": "q/"}}})], False),
        ([rule({"Filter": {"Tag": {"Key": "a", "Value": "b"}}})], False),
        ([rule({"Filter": {"ObjectSizeLessThan": 1000}})], False),
        ([rule(ALL, status="Disabled")], False),
        ([rule(ALL, expiration={"Days": 1})], True),
        ([rule(ALL, expiration={"Days": 31})], False),
        ([rule(ALL, expiration={"Date": NOW - timedelta(days=400)})], True),
        ([rule(ALL, expiration={"Date": NOW + timedelta(days=31)})], False),
        ([rule(ALL, expiration={"ExpiredObjectDeleteMarker": True})], False),
        ([{"Status": "Enabled", **ALL, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}], False),
        ([{"Status": "Enabled", **ALL, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}], False),
        ([rule({"Prefix": "q/"}), rule({"Filter": {"Prefix": "p/"}})], True),
    ],
)
def test_which_rules_remove_logs(rules: list[dict[str, Any]], found: bool) -> None:  # noqa: FBT001
    assert covers(rules, "p/.dvc-ray/runs/", 30, NOW) is found


@dataclass
class Cloud:
    """AWS, as far as it is asked here."""

    owner: Any
    """The bucket's owner, a client of S3."""
    users: dict[str, Remote]
    """Who may not delete, by whether they may read the rules."""

    def put(self, *rules: dict[str, Any]) -> None:
        self.owner.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": list(rules)})


def user(iam: Any, name: str, *actions: str) -> tuple[tuple[str, str], ...]:
    """Keys of a new user who may do nothing else."""
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return (("access_key_id", made["AccessKeyId"]), ("secret_access_key", made["SecretAccessKey"]))


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    boto3 = pytest.importorskip("boto3", reason="not installed: pip install 'dvc-ray[s3]'")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    where = {"endpoint_url": url, "region_name": "us-east-1"}
    anybody = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    iam = boto3.client("iam", **where, **anybody)
    work = ("s3:GetObject", "s3:PutObject", "s3:ListBucket")
    options = {
        "reads rules": user(iam, "one", *work, "s3:GetLifecycleConfiguration"),
        "reads none": user(iam, "two", *work),
        "unknown": (("access_key_id", "AKIDEXAMPLE"), ("secret_access_key", "example")),
    }
    owner = boto3.client("s3", **where, **{f"aws_{name}": key for name, key in user(iam, "owner", "s3:*")})
    owner.create_bucket(Bucket="bucket")
    users = {
        name: Remote(name="r", url="s3://bucket/p", options=(*keys, ("endpointurl", url)))
        for name, keys in options.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)  # from now on it checks who asks
        yield Cloud(owner, users)
    server.stop()


@pytest.fixture
def cloud(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The same for one test, to which the machine lends no credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    aws.owner.delete_bucket_lifecycle(Bucket="bucket")
    return aws


def state(remote: Remote) -> RuleState:
    return expires(S3(remote), ".dvc-ray/runs/", 30)


def test_a_bucket_is_asked(cloud: Cloud) -> None:
    reads = cloud.users["reads rules"]
    assert state(reads) is RuleState.MISSING, "no rules at all"
    cloud.put(rule({"Filter": {"Prefix": "other/"}}))
    assert state(reads) is RuleState.MISSING
    cloud.put(rule({"Filter": {"Prefix": "p/.dvc-ray/"}}), {**rule({"Filter": {"Prefix": "x"}}), "ID": "b"})
    assert state(reads) is RuleState.FOUND
    cloud.put(rule({"Filter": {"And": {**AND, "Tags": [{"Key": "a", "Value": "b"}]}}}))
    assert state(reads) is RuleState.MISSING
    cloud.put(rule({"Filter": {"Prefix": "p/"}}, expiration={"Date": datetime(2020, 1, 1, tzinfo=UTC)}))
    assert state(reads) is RuleState.FOUND


@pytest.mark.parametrize("who", ["reads none", "unknown"])
def test_who_may_not_ask(cloud: Cloud, who: str) -> None:
    cloud.put(rule(ALL))
    assert state(cloud.users[who]) is RuleState.UNREADABLE


def test_a_server_that_is_not_there() -> None:
    keys = (("access_key_id", "a"), ("secret_access_key", "b"))
    options = (*keys, ("region", "us-east-1"), ("endpointurl", "http://127.0.0.1:1"))
    pytest.importorskip("obstore")
    assert state(Remote(name="r", url="s3://bucket/p", options=options)) is RuleState.UNREADABLE


def test_a_store_of_another_kind(tmp_path: Path) -> None:
    assert expires(DvcObjects(Remote(name="r", url=str(tmp_path))), ".dvc-ray/runs/", 30) is RuleState.UNREADABLE


def test_another_server_of_s3(s3: Server) -> None:
    """SeaweedFS, which may know no rules."""
    keys = (("access_key_id", s3.owner.key), ("secret_access_key", s3.owner.secret))
    remote = Remote(name="r", url="s3://bucket/p", options=(*keys, ("region", "us-east-1"), ("endpointurl", s3.url)))
    assert state(remote) in {RuleState.MISSING, RuleState.UNREADABLE}


def test_what_is_said_where_nobody_may_delete(cloud: Cloud) -> None:
    for number in range(22):
        key = f"p/.dvc-ray/runs/20200101-0000{number:02}-me-00aa/logs/one.1.log"
        cloud.owner.put_object(Bucket="bucket", Key=key, Body=b"old")

    def said(who: str) -> str:
        return Retention(S3(cloud.users[who]), ()).end()

    assert said("reads rules").endswith("docs/how-to/remote.md has one.")
    assert said("reads none").endswith("docs/how-to/remote.md has one. Whether it has one could not be read.")
    cloud.put(rule({"Filter": {"Prefix": "p/.dvc-ray/"}}))
    assert said("reads rules") == ""
    assert "Whether it has one could not be read" in said("reads none")
