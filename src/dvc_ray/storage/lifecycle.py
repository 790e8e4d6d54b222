"""Whether a bucket removes by itself what grows old in it: the lifecycle rules of S3.

As https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html has them (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from dvc_ray.errors import StorageError
from dvc_ray.storage.access import client
from dvc_ray.storage.base import Objects
from dvc_ray.storage.s3 import S3
from dvc_ray.storage.timeouts import QUICK

_NO_RULES: Final = "NoSuchLifecycleConfiguration"
"""Code of the error of a bucket that has no rules."""


class RuleState(Enum):
    """Whether a bucket has a rule that removes what is old."""

    FOUND = "found"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """It is denied to ask, the server does not know the question, or the store is of another kind than S3."""


def expires(store: Objects, prefix: str, days: int) -> RuleState:
    """Ask a bucket whether it removes objects by a rule.

    The credentials need ``s3:GetLifecycleConfiguration`` for that.

    Args:
        store: A remote.
        prefix: Of the objects' keys, relative to the remote.
        days: At which age they must be gone.
    """
    if not isinstance(store, S3):
        return RuleState.UNREADABLE
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(store.remote.url)
    try:
        rules = client(store.remote, QUICK).get_bucket_lifecycle_configuration(Bucket=parts.netloc).get("Rules", [])
    except ClientError as error:
        none = error.response.get("Error", {}).get("Code") == _NO_RULES
        return RuleState.MISSING if none else RuleState.UNREADABLE
    except (BotoCoreError, OSError, StorageError):  # the second for certificates that are not there
        return RuleState.UNREADABLE
    whole = "/".join(filter(None, [parts.path.strip("/"), prefix]))
    return RuleState.FOUND if covers(rules, whole, days, datetime.now(UTC)) else RuleState.MISSING


def covers(rules: Iterable[Mapping[str, Any]], prefix: str, days: int, now: datetime) -> bool:
    """Whether one of a bucket's rules removes all objects below a prefix at some age.

    Args:
        rules: As boto3 has them.
        prefix: Of the objects' keys, relative to the bucket.
        days: The age.
        now: When a rule that removes on a date is looked at.
    """
    return any(
        rule.get("Status") == "Enabled"
        and _removes(rule.get("Expiration") or {}, days, now)
        and _is_about(rule, prefix)
        for rule in rules
    )


def _removes(expiration: Mapping[str, Any], days: int, now: datetime) -> bool:
    """Whether objects, not only their former versions, are removed; a date holds for all that comes after it, too."""
    if date := expiration.get("Date"):
        return bool(date <= now + timedelta(days=days))
    return 0 < int(expiration.get("Days") or 0) <= days


def _is_about(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether a rule is about all objects below a prefix; by tags or sizes it is about some of them."""
    conditions = dict(rule.get("Filter") or {})
    conditions |= conditions.pop("And", None) or {}
    about = str(conditions.pop("Prefix", None) or rule.get("Prefix") or "")  # the latter of rules made before 2016
    return prefix.startswith(about) and not conditions
