"""Object stores: what a DVC remote is to a machine that shares no disk with others.

`base` says what a store is; `layout` where DVC has things in it; `s3` is S3 by obstore; `transfer` moves many objects
at a time; `words` explains failures, which `obstore_errors` and `fsspec_errors` read.
Other kinds of remotes are stores by DVC's own file systems: `dvc_ray.repo.remote.remotes`.
"""

from dvc_ray.storage.base import Objects
from dvc_ray.storage.layout import OBJECTS, object_key
from dvc_ray.storage.probe import FOLDER, probe
from dvc_ray.storage.transfer import Item, download, lacking, upload

__all__ = ["FOLDER", "OBJECTS", "Item", "Objects", "download", "lacking", "object_key", "probe", "upload"]
