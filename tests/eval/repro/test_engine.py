"""The whole way: a system whose package goes wrong in two ways, built and checked by the real engine and toolchain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.eval.sandbox.rooms import require_sandbox

SYSTEM = """\
[includes]
paths = ["{minimal}"]

[force.system]
hostname = "leaky"

[[packages]]
name = "leaky"
version = "1.2.13"
source = "mirror://debian/pool/main/z/zlib/zlib_{version}.dfsg.orig.tar.bz2"
hash = "sha256:71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1"
build_system = "script"
phases.build = "true"
phases.install = '''
mkdir -p "$OUT/usr/share"
uname -n > "$OUT/usr/share/host"
tar --mtime=@1 --owner=0 --group=0 --mode=644 -czf "$OUT/usr/share/doc.tar.gz" contrib/minizip
'''

[[packages]]
name = "broken"
version = "1.2.13"
source = "mirror://debian/pool/main/z/zlib/zlib_{version}.dfsg.orig.tar.bz2"
hash = "sha256:71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1"
build_system = "script"
phases.build = "exit 3"
phases.install = "true"
"""


def nexis(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("nexis-eval")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_leaky_package_is_caught_and_traced(tmp_path: Path) -> None:
    require_sandbox()
    system = tmp_path / "system.toml"
    minimal = Path("examples/minimal").resolve()
    system.write_text(SYSTEM.replace("{minimal}", os.path.relpath(minimal / "system.toml", tmp_path)))
    shutil.copy(minimal / "nexis.lock", tmp_path)
    report = tmp_path / "report.json"
    result = nexis(
        "repro", "check", system, "broken", "leaky", "--store", tmp_path / "store",
        "--bisect", "--keep", tmp_path / "kept", "--format", "json", "-o", report,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    broken, subject = json.loads(report.read_text())["subjects"]
    # What cannot be built is told, and the rest is checked all the same.
    assert (broken["status"], broken["notes"]) == ("failed", ["it cannot be built in the first place"])
    verdicts = {
        each["path"]: {verdict["cause"]: verdict["culprits"] for verdict in each["verdicts"]}
        for each in subject["differences"]
    }
    assert subject["status"] == "differs"
    assert verdicts["usr/share/host"] == {"user or host": ["hostname"]}
    assert verdicts["usr/share/doc.tar.gz"]["order"] == ["order"]
    assert (tmp_path / "kept/leaky-1.2.13/before/out/usr/share/host").read_text() == "nexis\n"
    assert (tmp_path / "kept/leaky-1.2.13/after/out/usr/share/host").read_text() == "vary-host\n"
    alone = nexis("repro", "check", system, "broken", "--store", tmp_path / "store")
    assert alone.returncode == 2
    assert "broken-1.2.13 cannot be built, so there is nothing to compare [R0002]" in alone.stderr
