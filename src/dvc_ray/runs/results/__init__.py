"""Results that workers have written down and no driver has taken yet: one store, on the head's disk or in a remote.

A driver may be killed, and the answer of a worker may be lost on its way. So a worker stores its result, as JSON,
before it sends the answer, and the result stays there until a driver, of the same run or the next one, has taken it.
"""

from dvc_ray.runs.results.base import Kept, ResultStore
from dvc_ray.runs.results.local import LocalResults
from dvc_ray.runs.results.remote import RemoteResults

__all__ = ["Kept", "LocalResults", "RemoteResults", "ResultStore"]
