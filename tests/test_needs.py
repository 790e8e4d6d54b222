"""A machine that lacks a tool: the tests that need it skip and name it, and CI does not take that for success."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.needs import need
from tests.testbed import needs


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any tool."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "_SBIN", str(tmp_path))


@pytest.mark.usefixtures("bare")
def test_a_missing_tool_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no setpriv: apt-get install util-linux"):
        need("setpriv")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="must run in CI: no setpriv"):
        need("setpriv")
    with pytest.raises(pytest.skip.Exception, match="no npm"):
        need("npm")


@pytest.mark.usefixtures("bare")
def test_hosts_name_what_they_lack() -> None:
    assert needs.lacking().startswith("no ip, tc, unshare, nsenter, setpriv, sshd, rsync: apt-get install ")


def test_commands_of_administrators_are_found_where_path_does_not_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("path", "sbin"):
        (tmp_path / name).mkdir()
    tool = tmp_path / "sbin/tool"
    tool.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(needs, "_SBIN", str(tmp_path / "sbin"))
    assert needs.find("tool") == str(tool)
    assert needs.with_sbin()["PATH"] == f"{tmp_path}/path:{tmp_path}/sbin"
