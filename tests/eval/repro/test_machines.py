"""Records of real builds: on machines that differ in everything, and of a system in which one line was changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import uuid
from pathlib import Path

import pytest

from nexis_eval.execute.workspace import remove_tree
from nexis_store.store import default_store_root
from tests.eval.repro.test_cli import repro
from tests.eval.sandbox.rooms import require_sandbox
from tests.eval.sandbox.test_ordinary_user import PACKAGES, python_for

MINIMAL = Path("examples/minimal").resolve()
AHEAD_SECONDS = 400 * 86400
MAIN = f"""
import time
seconds, nanoseconds = time.time, time.time_ns
time.time = lambda: seconds() + {AHEAD_SECONDS}
time.time_ns = lambda: nanoseconds() + {AHEAD_SECONDS} * 10**9
from nexis_eval.cli.main import main
raise SystemExit(main())
"""
PACKAGE = 'name = "libpng"'


@pytest.mark.slow
def test_another_user_another_store_another_clock(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A real package built from nothing twice: the records are the same text but for the environment."""
    require_sandbox()
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root to become another user")
    first = tmp_path / "first.json"
    done = repro("record", MINIMAL, "argon2", "-o", first, store=tmp_path / "one")
    assert done.returncode == 0, done.stderr
    uid = 65534
    python = python_for(uid)
    # Not below pytest's own directory, which every other run of pytest closes again for other users.
    top = Path(tempfile.mkdtemp(prefix="nexis-machine-"))
    request.addfinalizer(lambda: remove_tree(top))
    home = top / "a long way down"
    home.mkdir()
    packages = home / "packages"
    for source in (
        Path(sysconfig.get_path("purelib")),
        PACKAGES / "nexis_eval",
        PACKAGES / "nexis_store",
        PACKAGES / "rules",
    ):
        # The user may not be allowed to look into the checkout.
        target = packages / source.name if source.parent == PACKAGES else packages
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    system = Path(shutil.copytree(MINIMAL, home / "my system"))
    for path in (top, home, system, *system.rglob("*")):
        os.chown(path, uid, uid)
    second = home / "second.json"
    words = ("repro", "record", system, "argon2", "-o", second, "--store", home / "two")
    done = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", python, "-B", "-c", MAIN, *map(str, words)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(packages),
            "HOME": str(home),
            "USER": "nobody",
            "TZ": "Pacific/Chatham",
            "LC_ALL": "C",
        },
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = repro("diff", first, second, store=tmp_path / "one")
    assert result.returncode == 0, result.stdout + result.stderr
    one, two = (json.loads(path.read_text()) for path in (first, second))
    assert {**one, "environment": {}} == {**two, "environment": {}}
    assert str(home) not in second.read_text()


@pytest.mark.slow
def test_one_changed_line_is_the_one_cause(tmp_path: Path) -> None:
    """In the example system, up to the ISO: the package whose line it is, and everything else as a consequence."""
    require_sandbox()
    changed = Path(shutil.copytree(MINIMAL, tmp_path / "changed")) / "system.toml"
    text = changed.read_text()
    assert text.count(PACKAGE) == 1
    new = f"""phases.post_install = 'mkdir -p "$OUT/usr/share"; echo {uuid.uuid4()} >"$OUT/usr/share/changed"'"""
    changed.write_text(text.replace(PACKAGE, f"{PACKAGE}\n{new}"))
    for name, system in (("before", MINIMAL), ("after", changed)):
        done = repro("record", system, "-o", tmp_path / f"{name}.json", store=default_store_root())
        assert done.returncode == 0, done.stderr
    report = tmp_path / "report.json"
    result = repro("diff", tmp_path / "before.json", tmp_path / "after.json", "-o", report, store=default_store_root())
    assert result.returncode == 1, result.stderr
    value = json.loads(report.read_text())
    found = {status: [each["name"] for each in value["subjects"] if each["status"] == status] for status in
             ("differs", "follows", "same", "failed")}  # fmt: skip
    assert found["differs"] == ["libpng-1.6.39"]
    assert {"squashfs", "ext2", "iso", "images"} <= set(found["follows"])
    assert found["same"] == found["failed"] == []
    assert {"name": "first cause", "value": "libpng-1.6.39"} in value["facts"]
    assert [each["path"] for each in value["subjects"][0]["differences"]] == ["usr/share/changed"]
