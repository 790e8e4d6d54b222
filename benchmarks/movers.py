"""Python clients that move the objects of a cache, each in its own process; prints the seconds of the transfer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main(name: str, way: str, objects: str, url: str) -> None:
    moves: dict[str, Callable[[str, str, str], float]] = {
        "dvc": _dvc,
        "dvc-ray": _ours,
        "s3fs": _s3fs,
        "s3fs-one-by-one": _s3fs_one_by_one,
    }
    print(moves[name](way, objects, url))


def _files(objects: str) -> list[Path]:
    return [path for path in Path(objects).rglob("*") if path.is_file()]


def _ours(way: str, objects: str, url: str) -> float:
    """Move objects as a worker does: it knows their hashes, but not the sizes of those that it downloads."""
    from dvc_ray.storage import Item, download, upload
    from dvc_ray.storage.s3 import S3
    from dvc_ray.values.task import Remote

    store = S3(Remote(name="r", url=url))
    store.size("warm")
    if way == "up":
        items = [
            Item(key=f"files/md5/{path.parent.name}/{path.name}", path=str(path), size=path.stat().st_size)
            for path in _files(objects)
        ]
        begun = time.perf_counter()
        upload(store, items)
        return time.perf_counter() - begun
    items = [
        Item(
            key=key,
            path=os.path.join(objects, *key.split("/")[-2:]),
            md5="".join(key.split("/")[-2:]).removesuffix(".dir"),
        )
        for key in store.keys("files/md5")
    ]
    begun = time.perf_counter()
    download(store, items)
    return time.perf_counter() - begun


def _dvc(way: str, *_: str) -> float:
    """Push or fetch the project in the current directory; the start of Python and DVC does not count."""
    from dvc.repo import Repo

    with Repo() as repo:
        begun = time.perf_counter()
        moved = repo.push() if way == "up" else repo.fetch()
        found = time.perf_counter() - begun
    if not moved:
        raise RuntimeError("nothing was moved")
    return found


def _s3fs(way: str, objects: str, url: str) -> float:
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.exists(url)
    begun = time.perf_counter()
    if way == "up":
        fs.put(f"{objects}/", f"{url}/files/md5/", recursive=True)
    else:
        fs.get(f"{url}/files/md5/", f"{objects}/", recursive=True)
    return time.perf_counter() - begun


def _s3fs_one_by_one(way: str, objects: str, url: str) -> float:
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.exists(url)
    begun = time.perf_counter()
    if way == "up":
        for path in _files(objects):
            fs.put(str(path), f"{url}/files/md5/{path.parent.name}/{path.name}")
    else:
        for key in fs.find(f"{url}/files/md5"):
            target = Path(objects, *key.split("/")[-2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            fs.get(key, str(target))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(*sys.argv[1:])
