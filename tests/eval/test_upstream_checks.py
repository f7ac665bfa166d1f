"""``check = true`` with a real test suite: zlib's own, as it comes and with a mistake in it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SYSTEM = """\
[[packages]]
name = "zlib"
version = "1.2.13"
source = "mirror://debian/pool/main/z/zlib/zlib_{version}.dfsg.orig.tar.bz2"
hash = "sha256:71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1"
build_system = "configure"
configure_flags = ["--static"]
options.style = "plain"
check = true
"""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nexis_eval.cli.main", *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("mistake", [False, True])
def test_the_tests_of_a_package_run_and_stop_its_build(tmp_path: Path, mistake: bool) -> None:
    spoil = "echo '__attribute__((constructor)) static void fail(void) { exit(7); }' >>test/example.c"
    file = tmp_path / "system.toml"
    added = f"# {uuid.uuid4()}\n{spoil if mistake else ':'}"
    file.write_text(f"{SYSTEM}phases.pre_build = {json.dumps(added)}\n")
    done = command("build", str(file), "zlib")
    log = command("log", str(file), "zlib").stdout
    if mistake:
        assert done.returncode == 1
        assert "failed in phase 'check'" in done.stderr
        assert "*** zlib test FAILED ***" in log
    else:
        assert done.returncode == 0, done.stderr
        assert "*** zlib test OK ***" in log
