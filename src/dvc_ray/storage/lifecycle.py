"""Whether a bucket removes old objects itself, by lifecycle rules of S3.

As in https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html (2026-11).
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
"""Error code for a bucket that has no rules."""


class RuleState(Enum):
    """Whether a bucket has a rule that removes old objects."""

    FOUND = "found"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """Access to the rules is denied, the server does not know the request, or the store is not S3."""


def expires(store: Objects, prefix: str, days: int) -> RuleState:
    """Ask a bucket whether it removes objects by a rule.

    The credentials need ``s3:GetLifecycleConfiguration`` for that.

    Args:
        store: The remote.
        prefix: Prefix of the objects' keys, relative to the remote.
        days: Age in days at which the objects must be gone.
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
    except (BotoCoreError, OSError, StorageError):  # OSError: certificates that are missing
        return RuleState.UNREADABLE
    whole = "/".join(filter(None, [parts.path.strip("/"), prefix]))
    return RuleState.FOUND if covers(rules, whole, days, datetime.now(UTC)) else RuleState.MISSING


def covers(rules: Iterable[Mapping[str, Any]], prefix: str, days: int, now: datetime) -> bool:
    """Whether one of a bucket's rules removes all objects below a prefix at some age.

    Args:
        rules: The rules, as boto3 returns them.
        prefix: Prefix of the objects' keys, relative to the bucket.
        days: The age in days.
        now: The present time, for rules that remove on a date.
    """
    return any(
        rule.get("Status") == "Enabled"
        and _removes(rule.get("Expiration") or {}, days, now)
        and _is_about(rule, prefix)
        for rule in rules
    )


def _removes(expiration: Mapping[str, Any], days: int, now: datetime) -> bool:
    """Whether objects, not only old versions of them, are removed; a date also holds for objects written after it."""
    if date := expiration.get("Date"):
        return bool(date <= now + timedelta(days=days))
    return 0 < int(expiration.get("Days") or 0) <= days


def _is_about(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether a rule covers all objects below a prefix; a rule with tags or sizes covers only some of them."""
    conditions = dict(rule.get("Filter") or {})
    conditions |= conditions.pop("And", None) or {}
    about = str(conditions.pop("Prefix", None) or rule.get("Prefix") or "")  # the latter in rules made before 2016
    return prefix.startswith(about) and not conditions
