"""Results that workers have written down and no driver has taken yet: one store, on the head's disk or in a remote.

A driver may be killed, and an answer may be lost on its way. What a worker has finished is in the store before its
answer is sent, as JSON, and stays there until a driver, of the same run or the next one, has taken it.
"""

from dvc_ray.runs.results.base import Kept, ResultStore
from dvc_ray.runs.results.local import LocalResults
from dvc_ray.runs.results.remote import RemoteResults

__all__ = ["Kept", "LocalResults", "RemoteResults", "ResultStore"]
