"""Environments of the project, by the real managers: found, used and left as under stock."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.run import Experiment
from tests.helpers import stock
from tests.helpers.needs import need
from tests.helpers.projects import Make
from tests.helpers.runs import Locally, Repro

PYTHON = Path(sys.base_prefix, "bin/python3")
BACKEND = """
import base64, hashlib, os, zipfile
ABOUT = "pack-1.0.dist-info"

def _wheel(folder, files):
    files = {**files, f"{ABOUT}/METADATA": "Metadata-Version: 2.1\\nName: pack\\nVersion: 1.0\\n",
        f"{ABOUT}/WHEEL": "Wheel-Version: 1.0\\nGenerator: be\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{ABOUT}/entry_points.txt": "[console_scripts]\\nwhere = pack:main\\n"}
    digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()] + [f"{ABOUT}/RECORD,,"]
    with zipfile.ZipFile(os.path.join(folder, "pack-1.0-py3-none-any.whl"), "w") as made:
        for name, text in {**files, f"{ABOUT}/RECORD": "\\n".join(record) + "\\n"}.items():
            made.writestr(name, text)
    return "pack-1.0-py3-none-any.whl"

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {"pack.pth": os.path.abspath("src") + "\\n"})

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, {"pack.py": open("src/pack.py").read()})
"""
"""A build backend that needs nothing from a registry."""
PROJECT = {
    "pyproject.toml": '[project]\nname = "pack"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    '[build-system]\nrequires = []\nbuild-backend = "be"\nbackend-path = ["."]\n',
    "be.py": BACKEND,
    "src/pack.py": "import os, sys\n"
    "def main(out=None):\n"
    "    text = f'{WHAT} {os.path.relpath(__file__)} {os.path.basename(sys.prefix)}\\n'\n"
    "    open(out or sys.argv[1], 'w').write(text)\n"
    "WHAT = 'code'\n",
    "use.py": "import pack, sys; pack.main(sys.argv[1])\n",
    ".gitignore": "/.venv\n/node_modules\n/env.log\nuv.lock\npoetry.lock\nPipfile.lock\npdm.lock\n.pdm-python\n",
}
ENVIRONMENTS = {".venv", "node_modules", "made"}


def stages(**commands: str) -> str:
    lines = (f"  {name}: {{cmd: '{cmd}', deps: [use.py], outs: [{name}.txt]}}\n" for name, cmd in commands.items())
    return "stages:\n" + "".join(lines)


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment is active, and caches are the test's own."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_CACHE_DIR", "POETRY_CACHE_DIR", "WORKON_HOME", "PIPENV_CACHE_DIR", "HATCH_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "caches" / name))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON", str(PYTHON))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


FULL = pytest.mark.full  # another of the kind is in `make test`
Twins = Callable[..., tuple[Path, Path]]


@pytest.fixture
def twins(project: Make) -> Twins:
    """The same project twice: for stock, and for ours."""

    def make(dvc_yaml: str, set_up: str = "", files: dict[str, str] | None = None) -> tuple[Path, Path]:
        ours = project({**PROJECT, **(files or {}), "dvc.yaml": dvc_yaml})
        theirs = ours.with_name("theirs")
        subprocess.run(["cp", "-a", str(ours), str(theirs)], check=True)
        for root in (ours, theirs):
            stock.sh(root, set_up)
        return theirs, ours

    return make


def outs(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(root.glob("*.txt"))}


def state(environment: Path) -> dict[str, tuple[int, str]]:
    """An environment byte for byte, and when it was written; but for what Python compiles."""
    return {
        str(path.relative_to(environment)): (path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(environment.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def naming(folder: Path, text: str = "/.dvc/tmp/ray") -> list[str]:
    """Files that name a workspace."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".pyc")
    return [str(path.relative_to(folder)) for path in found if text.encode() in path.read_bytes()]


def bad_records(environment: Path) -> Iterator[str]:
    """Files that are not what the RECORD of their distribution says."""
    for record in environment.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        for name, digest, _ in csv.reader(record.read_text().splitlines()):
            data = (record.parents[1] / name).read_bytes() if digest else b""
            text = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            if digest and digest != f"sha256={text}":
                yield name


def differences(theirs: Path, ours: Path) -> list[str]:
    """What they leave, but for environments."""
    found = [
        {path: text for path, text in stock.snapshot(root).items() if path.split("/")[0] not in ENVIRONMENTS}
        for root in (theirs, ours)
    ]
    return stock.differences(*found)


def in_src(environment: Path) -> str:
    return f"code src/pack.py {environment.name}\n"


# uv


def test_uv_run(twins: Twins, locally: Locally) -> None:
    """Its sync of the project, installed editable, finds nothing to do; the code is the workspace's."""
    need("uv")
    cmd = "uv run python use.py"
    theirs, ours = twins(
        stages(a=f"{cmd} a.txt", b="uv run where b.txt", c="cd src && uv run python ../use.py ../c.txt"), "uv sync -q"
    )
    before = state(ours / ".venv")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs)
    assert outs(ours)["a.txt"] == in_src(ours / ".venv")
    assert state(ours / ".venv") == before
    assert differences(theirs, ours) == []


def test_uv_in_a_fresh_clone(twins: Twins, locally: Locally) -> None:
    """The environment is made where it stays."""
    need("uv")
    cmds = {"a": "uv run python use.py a.txt", "b": "uv sync && .venv/bin/where b.txt"}
    theirs, ours = twins(stages(**cmds))
    assert stock.dvc(theirs, "repro") == 0
    result = locally(ours)
    assert not result.failed
    assert outs(ours) == outs(theirs)
    assert naming(ours / ".venv") == []
    assert (ours / "uv.lock").exists()
    before = state(ours / ".venv")
    stock.sh(ours, "uv run where again.txt")
    assert (ours / "again.txt").read_text() == (ours / "a.txt").read_text()
    assert state(ours / ".venv") == before


def test_uv_with_projects_below(twins: Twins, locally: Locally) -> None:
    """Which one a script goes to cannot be told: what its sync has written is put right afterwards."""
    need("uv")
    files = {
        "run.sh": "cd low && uv run python -m low ../$1\n",
        "low/pyproject.toml": PROJECT["pyproject.toml"].replace('"pack"', '"low"'),
        "low/be.py": BACKEND.replace("pack-1.0", "low-1.0")
        .replace("Name: pack", "Name: low")
        .replace("pack.pth", "low.pth"),
        "low/src/low.py": "import os, sys; open(sys.argv[1], 'w').write(os.path.relpath(__file__))\n",
        ".gitignore": ".venv\nuv.lock\n",
    }
    cmds = {"a": "bash run.sh a.txt", "b": "bash run.sh b.txt", "c": "cd low && uv run python -m low ../c.txt"}
    cmds["d"] = "uv run where d.txt"
    theirs, ours = twins(stages(**cmds), "uv sync -q; uv sync -q --project low", files)
    before = state(ours / ".venv")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs)
    assert outs(ours)["c.txt"] == "src/low.py"
    assert state(ours / ".venv") == before
    assert naming(ours / "low/.venv") == []
    assert list(bad_records(ours / "low/.venv")) == []


def test_uv_in_an_experiment(twins: Twins, locally: Locally) -> None:
    """The code is the experiment's, the environment the user's."""
    need("uv")
    theirs, ours = twins(stages(a="uv run python use.py a.txt"), "uv sync -q")
    before = state(ours / ".venv")
    for root in (theirs, ours):
        (root / "src/pack.py").write_text(PROJECT["src/pack.py"].replace("'code'", "'edited'"))
    assert stock.dvc(theirs, "exp", "run") == 0
    with stock.in_directory(ours):
        result, _ = api.exp_run(Experiment(), executor=LocalExecutor())
    assert not result.failed
    assert outs(ours) == outs(theirs) == {"a.txt": "edited src/pack.py .venv\n"}
    assert state(ours / ".venv") == before
    assert naming(ours / ".venv") == []


def test_several_at_once(twins: Twins, repro: Repro) -> None:
    """On Ray, in a fresh clone: the first makes the environment, the others wait for uv's lock and use it."""
    need("uv")
    theirs, ours = twins(stages(**{name: f"uv run where {name}.txt" for name in "abcd"}))
    assert stock.dvc(theirs, "repro") == 0
    assert not repro(ours).failed
    assert outs(ours) == outs(theirs)
    assert naming(ours / ".venv") == []
    assert list(bad_records(ours / ".venv")) == []


# pip, venv


def venv(folder: str = ".venv") -> str:
    return f"{PYTHON} -m venv {folder}"


@pytest.mark.parametrize(
    "install",
    [
        ".venv/bin/pip install -q -e .",
        pytest.param(". .venv/bin/activate && pip install -qe .", marks=FULL),
    ],
)
def test_pip_install_editable(twins: Twins, locally: Locally, install: str) -> None:
    """It writes the path of the folder that it is called in, into an environment that the workspace has as a link."""
    theirs, ours = twins(stages(a=f"{install} && .venv/bin/where a.txt", b=".venv/bin/python use.py b.txt"), venv())
    (ours / "dvc.yaml").write_text((ours / "dvc.yaml").read_text().replace("b: {", "b: {wdir: ., "))
    shutil.copy(ours / "dvc.yaml", theirs)
    for root in (theirs, ours):
        stock.sh(root, "sed -i 's/deps: .use.py., outs: .b.txt./deps: [use.py, a.txt], outs: [b.txt]/' dvc.yaml")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs) == {name: in_src(ours / ".venv") for name in ("a.txt", "b.txt")}
    assert naming(ours / ".venv") == []
    assert list(bad_records(ours / ".venv")) == []
    assert stock.sh(ours, "cd /; " + f"{ours}/.venv/bin/python -c 'import pack; print(pack.__file__)'").strip() == str(
        ours / "src/pack.py"
    )


def test_a_worker_that_dies_leaves_no_environment_that_names_its_workspace(project: Make, repro: Repro) -> None:
    kill = """
import os, psutil
worker = next(each for each in psutil.Process().parents() if each.name().startswith("ray::"))
os.mkdir("mark/there")
worker.kill()
"""
    once = (
        f"test -d mark/there || (.venv/bin/pip install -q -e . && {sys.executable} kill.py && sleep 100); echo > a.txt"
    )
    root = project({**PROJECT, "dvc.yaml": stages(a=once), "kill.py": kill, ".gitignore": "/.venv\n/mark\n"})
    (root / "mark").mkdir()
    stock.sh(root, venv())
    assert not repro(root).failed
    assert naming(root / ".venv") == []
    assert (root / ".venv/bin/where").exists()
    assert list(bad_records(root / ".venv")) == []


def test_an_environment_that_a_stage_makes(project: Make, locally: Locally) -> None:
    """It works where it ends up, for the stages after it and for the user."""
    made = f"{venv('made')} && made/bin/pip install -q -e . && echo > m.txt"
    text = stages(m=made, a="made/bin/where a.txt").replace("[use.py], outs: [a.txt]", "[m.txt], outs: [a.txt]")
    ours = project({**PROJECT, "dvc.yaml": text, ".gitignore": "/made\n"})
    result = locally(ours)
    assert [report.error for report in result.failed] == []
    assert (ours / "a.txt").read_text() == "code src/pack.py made\n"
    assert naming(ours / "made") == []
    assert list(bad_records(ours / "made")) == []
    stock.sh(ours, ". made/bin/activate && pip --version && where again.txt")
    assert (ours / "again.txt").read_text() == "code src/pack.py made\n"
    assert locally.warnings == ""


def test_an_environment_that_is_an_out(project: Make, locally: Locally) -> None:
    """It is right before DVC hashes it."""
    text = f"stages:\n  m: {{cmd: '{venv('made')} --without-pip', outs: [made]}}\n"
    ours = project({"dvc.yaml": text})
    assert not locally(ours).failed
    assert f"VIRTUAL_ENV={ours}/made" in (ours / "made/bin/activate").read_text().replace('"', "")
    assert naming(ours / "made") == []
    assert stock.status(ours) == {}


def test_a_new_folder_of_many_files(project: Make, locally: Locally) -> None:
    """It comes home at once, not file by file."""
    many = "mkdir -p big/sub big/empty && touch big/pyvenv.cfg && for n in $(seq 3000); do echo $n > big/sub/$n; done"
    ours = project(
        {"dvc.yaml": f"stages: {{a: {{cmd: '{many} && echo > a.txt', outs: [a.txt]}}}}", ".gitignore": "/big\n"}
    )
    assert not locally(ours).failed
    assert len(list((ours / "big/sub").iterdir())) == 3000
    assert (ours / "big/empty").is_dir()


# poetry


@pytest.mark.parametrize("fresh", ["", pytest.param("fresh", marks=pytest.mark.full)])
@pytest.mark.parametrize("in_project", [pytest.param("true", marks=FULL), "false"])
def test_poetry(twins: Twins, locally: Locally, monkeypatch: pytest.MonkeyPatch, fresh: str, in_project: str) -> None:
    """The environment that it has for the user's project, outside of it or within; not one for each stage."""
    need("poetry")
    monkeypatch.setenv("POETRY_VIRTUALENVS_IN_PROJECT", in_project)
    files = {"pyproject.toml": PROJECT["pyproject.toml"].partition("[build")[0] + POETRY}
    cmds = {"a": "poetry run python use.py a.txt", "b": "poetry install -q && poetry run python use.py b.txt"}
    if fresh:
        cmds["a"] = f"poetry install -q && {cmds['a']}"
    theirs, ours = twins(stages(**cmds), "" if fresh else "poetry install -q", files)
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    environments = list(environments_of(ours, in_project))
    assert [folder.name for folder in environments_of(theirs, in_project)] != []
    assert len(environments) == (1 if in_project == "true" else 2)  # of each twin one
    for folder in environments:
        assert naming(folder) == []
        assert list(bad_records(folder)) == []
    assert [text.split()[:2] for text in outs(ours).values()] == [["code", "src/pack.py"]] * 2


POETRY = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'


def environments_of(root: Path, in_project: str) -> list[Path]:
    if in_project == "true":
        return [root / ".venv"]
    return [path.parent for path in Path(os.environ["POETRY_CACHE_DIR"], "virtualenvs").glob("*/pyvenv.cfg")]


# Others, where they are installed


def test_pipenv(twins: Twins, locally: Locally) -> None:
    need("pipenv")
    files = {"Pipfile": "[packages]\npack = {path = '.', editable = true}\n"}
    set_up = f"pipenv --python {PYTHON} run pip install -q -e ."
    theirs, ours = twins(stages(a="pipenv run python use.py a.txt", b="pipenv run where b.txt"), set_up, files)
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert [text.split()[:2] for text in outs(ours).values()] == [["code", "src/pack.py"]] * 2
    assert len(list(Path(os.environ["WORKON_HOME"]).glob("*/pyvenv.cfg"))) == 2  # of each twin one


def test_pdm(twins: Twins, locally: Locally) -> None:
    need("pdm")
    set_up = f"{venv()} && .venv/bin/pip install -q -e ."
    theirs, ours = twins(stages(a="pdm run python use.py a.txt", b="pdm run where b.txt"), set_up)
    before = state(ours / ".venv")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs) == {name: in_src(ours / ".venv") for name in ("a.txt", "b.txt")}
    assert state(ours / ".venv") == before
    assert (ours / ".pdm-python").read_text() == f"{ours}/.venv/bin/python"


@pytest.mark.parametrize("fresh", ["", "fresh"])
def test_hatch(twins: Twins, locally: Locally, fresh: str) -> None:
    need("hatch")
    theirs, ours = twins(
        stages(a="hatch run python use.py a.txt", b="hatch run where b.txt"), "" if fresh else "hatch run true"
    )
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert [text.split()[:2] for text in outs(ours).values()] == [["code", "src/pack.py"]] * 2
    made = [path.parent for path in Path(os.environ["HATCH_DATA_DIR"]).rglob("pyvenv.cfg")]
    assert len(made) == 2  # of each twin one
    assert [naming(folder) for folder in made] == [[], []]


NODE = {
    "package.json": '{"name": "proj", "version": "1.0.0", "dependencies": {"lib": "file:lib"}}',
    "lib/package.json": '{"name": "lib", "version": "1.0.0", "bin": {"say": "say.js"}}',
    "lib/say.js": "#!/usr/bin/env node\nrequire('fs').writeFileSync(process.argv[2], require('lib'))\n",
    "lib/index.js": "module.exports = 'lib'\n",
    "use.js": "require('fs').writeFileSync(process.argv[2], require('lib'))\n",
}


@pytest.mark.parametrize("fresh", ["", "fresh"])
def test_npm(twins: Twins, locally: Locally, monkeypatch: pytest.MonkeyPatch, fresh: str) -> None:
    """`npm ci` empties the folder that is there and puts a new one in its place."""
    need("npm")
    monkeypatch.setenv("npm_config_offline", "true")
    set_up = "npm install --silent --install-links=true" + ("; rm -r node_modules" if fresh else "")
    cmds = {"a": "npm ci --silent --install-links=true && node use.js a.txt", "b": "node use.js b.txt"}
    theirs, ours = twins(stages(**cmds), set_up, NODE)
    for root in (theirs, ours):
        stock.sh(root, "sed -i 's/deps: .use.py., outs: .b.txt./deps: [a.txt], outs: [b.txt]/' dvc.yaml")
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert outs(ours) == outs(theirs)
    listed = [stock.sh(root, "cd node_modules && find . | sort") for root in (theirs, ours)]
    assert listed[0] == listed[1]
    assert naming(ours / "node_modules") == []
    stock.sh(ours, "node use.js again.txt && npx --no say again.txt")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("-m venv", marks=FULL),
        "-m venv --clear",
        pytest.param("-m venv --upgrade", marks=FULL),
    ],
)
def test_an_environment_that_is_made_again(twins: Twins, locally: Locally, how: str) -> None:
    """Python makes none in a link; what was in it before stays, but with `--clear`."""
    made = f"{PYTHON} {how} .venv && .venv/bin/python --version && ls .venv/bin > a.txt"
    setup = f"{venv()} && echo > $(echo .venv/lib/python3*/site-packages)/mine.py && echo > .venv/bin/mine"
    theirs, ours = twins(stages(a=made), setup)
    assert stock.dvc(theirs, "repro") == 0
    assert not locally(ours).failed
    assert naming(ours / ".venv") == []
    assert not (ours / ".venv").is_symlink()
    kept = [sorted(path.name for path in (root / ".venv").rglob("mine*")) for root in (theirs, ours)]
    assert kept[0] == kept[1] == ([] if "clear" in how else ["mine", "mine.py"])
    config = [(root / ".venv/pyvenv.cfg").read_text().replace(str(root), "<root>") for root in (theirs, ours)]
    assert config[0] == config[1]
    assert outs(ours)["a.txt"] == outs(theirs)["a.txt"]
