"""A stage on another machine that writes what is not its own: nothing of it reaches the head."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import Cloud

pytestmark = pytest.mark.full

EVIL = """
set -e
rm -rf .git
git init -qb evil .
mkdir -p .git/hooks sub/.git/hooks sub/.dvc .dvc
for hook in .git/hooks/post-commit sub/.git/hooks/post-commit; do echo "touch /root/ran" > $hook; chmod +x $hook; done
printf '[core]\\n    analytics = true\\n' | tee .dvc/config > sub/.dvc/config
ln -s /root way
echo planted > way/planted
ln -sf /etc/passwd code.txt
echo fine > fine.txt
cat data/in.txt > out.txt
"""
STAGES = "stages:\n  one: {cmd: bash evil.sh, deps: [data, evil.sh], outs: [out.txt]}\n"


def test_what_a_stage_plants_stays_where_it_is(cloud: Cloud) -> None:
    root = cloud.project("evil", {"dvc.yaml": STAGES, "evil.sh": EVIL, "code.txt": "code\n", "data/in.txt": "in\n"})
    look = (
        "git rev-parse --abbrev-ref HEAD; git rev-parse HEAD; ls .git/hooks | grep -v sample || true; cat .dvc/config"
    )
    before = cloud.head.sh(look, cwd=root)
    assert cloud.run(root, "repro")["ok"]
    assert cloud.head.sh(look, cwd=root) == before
    assert cloud.head.sh("cat out.txt fine.txt 2>/dev/null || (dvc pull -q out.txt && cat out.txt fine.txt)", cwd=root)
    assert cloud.head.sh("ls -A sub 2>/dev/null || true", cwd=root) == ""
    assert cloud.head.sh("ls /root/planted /root/ran 2>/dev/null || true", cwd=root) == ""
    # The links come home as such, as under `dvc repro`; a second result is not written through them.
    assert cloud.head.sh("readlink way code.txt", cwd=root).split() == ["/root", "/etc/passwd"]
    passwd = cloud.head.sh("md5sum /etc/passwd", cwd=root)
    again = "rm -f way code.txt; mkdir way; echo planted | tee way/planted > code.txt; cat data/in.txt > out.txt"
    cloud.head.sh(f"cat > evil.sh <<'E'\n{again}\nE", cwd=root)
    assert cloud.run(root, "repro")["ok"]
    assert cloud.head.sh("md5sum /etc/passwd", cwd=root) == passwd
    assert cloud.head.sh("ls /root/planted 2>/dev/null || true", cwd=root) == ""
