"""Object stores: how machines that share no disk use a DVC remote.

`base` is the interface of a store; `layout` is DVC's layout of a remote; `s3` is S3 through obstore; `transfer` moves
many objects at a time; `messages` explains failures, which `obstore_errors` and `fsspec_errors` recognize.
For other kinds of remotes, `dvc_ray.repo.remote.remotes` makes stores from DVC's own file systems.
"""

from dvc_ray.storage.base import Objects
from dvc_ray.storage.layout import OBJECTS, object_key
from dvc_ray.storage.probe import FOLDER, probe
from dvc_ray.storage.transfer import Item, download, lacking, upload

__all__ = ["FOLDER", "OBJECTS", "Item", "Objects", "download", "lacking", "object_key", "probe", "upload"]
