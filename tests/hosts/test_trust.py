"""A stage on another machine that writes what is not its own: nothing of it reaches the head."""

from __future__ import annotations

import pytest

from tests.helpers.cloud import Cloud

pytestmark = pytest.mark.full

STAGES = "stages:\n  one: {cmd: bash evil.sh, deps: [data, evil.sh], outs: [out.txt]}\n"
TO_GIT = """
rm -rf .git
git init -qb evil .
echo "touch /root/ran" > .git/hooks/post-commit
chmod +x .git/hooks/post-commit
cat data/in.txt > out.txt
"""
PLANTED = """
mkdir -p sub/.git/hooks sub/.dvc
echo "touch /root/ran" > sub/.git/hooks/post-commit
echo "# planted" | tee sub/.dvc/config >> .dvc/config
ln -s /root way
echo planted > way/planted
ln -sf /etc/passwd code.txt
echo fine > fine.txt
cat data/in.txt > out.txt
"""
THROUGH_THEM = """
rm -f way code.txt
mkdir way
echo planted | tee way/planted > code.txt
cat data/in.txt > out.txt
"""


def test_what_a_stage_plants_stays_where_it_is(cloud: Cloud) -> None:
    root = cloud.project("evil", {"dvc.yaml": STAGES, "evil.sh": TO_GIT, "code.txt": "code\n", "data/in.txt": "in\n"})

    def look() -> str:
        git = "git branch --show-current; git rev-parse HEAD; ls .git/hooks | grep -v sample || true; cat .dvc/config"
        elsewhere = "ls -A /root/planted /root/ran sub 2>/dev/null || true; md5sum /etc/passwd"
        return cloud.head.sh(f"{git}; {elsewhere}", cwd=root)

    before = look()
    cloud.run(root, "repro", check=False)
    assert "its command wrote to Git, which a stage cannot" in str(cloud.events)
    assert look() == before

    cloud.head.sh(f"cat > evil.sh <<'END'\n{PLANTED}END", cwd=root)
    cloud.run(root, "repro")
    named = [event["text"] for event in cloud.events if event["event"] == "notice"]
    assert "stage 'one' wrote '.dvc/config', which no stage may write: it is not brought home." in named
    assert look() == before
    assert cloud.head.sh("cat fine.txt", cwd=root) == "fine\n"
    # The links come home as such, as under `dvc repro`; the next result is not written through them.
    assert cloud.head.sh("readlink way code.txt", cwd=root).split() == ["/root", "/etc/passwd"]

    cloud.head.sh(f"cat > evil.sh <<'END'\n{THROUGH_THEM}END", cwd=root)
    cloud.run(root, "repro")
    assert look() == before
    assert cloud.head.sh("cat way/planted code.txt", cwd=root) == "planted\nplanted\n"
