"""Where data is decides where a stage would best run: by bytes, as a preference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dvc_ray.executors.placement.fit import Node
from dvc_ray.executors.placement.locations import Locations, of_entry
from dvc_ray.executors.placement.waits import wait
from dvc_ray.ray_api.autoscaler import Scaling
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Stored, Wait

MIB = 1 << 20


def dep(oid: str, size: int = 0) -> Stored:
    return Stored(path=oid, oid=oid, remote="r", size=size)


def test_the_node_with_most_bytes_is_best() -> None:
    found = Locations()
    found.note("one", [("a", 5 * MIB), ("b", MIB)])
    found.note("two", of_entry({"outs": [{"path": "c", "md5": "c", "size": 3 * MIB}], "deps": [{"path": "x.py"}]}))
    both = [dep("a"), dep("b"), dep("c", 3 * MIB)]
    assert found.best(both, {"one", "two"}) == "one"
    assert found.best(both, {"two"}) == "two", "the other is gone"
    assert found.best(both, {"three"}) == ""
    assert found.best([dep("d", 9 * MIB)], {"one", "two"}) == ""
    found.note("two", [("e", 10)])
    assert found.best([dep("e")], {"two"}) == "", "not for ten bytes"


def test_the_next_run_knows_it(tmp_path: Path) -> None:
    found, path = Locations(), tmp_path / "ray" / "locations.json"
    found.note("one", [("a", 5 * MIB), ("small", 10)])
    found.note("gone", [("a", 5 * MIB), ("b", MIB)])
    found.write(path, {"one"})
    again = Locations.read(path)
    assert again.best([dep("a")], {"one", "gone"}) == "one"
    assert again.best([dep("b")], {"one", "gone"}) == ""
    assert "small" not in path.read_text()
    path.write_text("[half")
    assert Locations.read(path).best([dep("a")], {"one"}) == ""


SMALL, LARGE = Node(total={"CPU": 2}), Node(total={"CPU": 64})
ASKED = StageSettings(num_cpus=4, memory=2 << 30, num_gpus=1)


def test_what_is_waited_for() -> None:
    four = StageSettings(num_cpus=4)
    assert wait(four, [SMALL, LARGE], None) == Wait(what="4 CPUs to be free")
    with_image = replace(four, runtime_env={"image_uri": "some/image"})
    told = Wait(what="Ray to set up its runtime_env, or for 4 CPUs to be free")
    assert wait(with_image, [LARGE], None, moving=True) == told
    assert wait(four, [SMALL, LARGE], None, moving=True) is None, "others run: it waits for its turn"
    there_is_none = "a node with 4 CPUs: the cluster has none, and no autoscaler says that one will come"
    assert wait(four, [SMALL], None, moving=True) == Wait(what=there_is_none)
    assert wait(four, [SMALL], Scaling()) == Wait(what="a node with 4 CPUs")
    assert wait(four, [], Scaling(launching=1)) == Wait(what="a node with 4 CPUs (1 node being launched)")
    refused = Scaling(failed="InsufficientInstanceCapacity")
    why = "a node with 4 CPUs (the last launch failed: InsufficientInstanceCapacity)"
    assert wait(four, [], refused) == Wait(what=why)
    never = Scaling(impossible=({"CPU": 4.0, "GPU": 1.0, "memory": float(2 << 30)},))
    assert wait(ASKED, [SMALL], never) == Wait(
        what="no node type of the cluster has 4 CPUs, 1 GPU, 2.0 GiB of memory", never=True
    )
    assert wait(four, [SMALL], never) == Wait(what="a node with 4 CPUs")
