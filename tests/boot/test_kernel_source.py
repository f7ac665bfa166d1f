"""``[system] kernel_source``: examples/minimal with a kernel from source, the whole system built and booted."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT
from tests.boot.console import Console
from tests.boot.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KERNEL = """\
kernel = "linux-6.1.176"
kernel_source = "mirror://debian/pool/main/l/linux/linux_{version}.orig.tar.xz"
kernel_hash = "sha256:9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
kernel_config = "configs/kernel.config"
"""


def system(directory: Path) -> Path:
    """examples/minimal, but for where its kernel comes from."""
    shutil.copytree(ROOT / "examples/minimal", directory)
    shutil.copy(Path(__file__).with_name("kernel.config"), directory / "configs")
    file = directory / "system.toml"
    blocks = re.split(r"\n(?=\[)", file.read_text())
    kept = "\n".join(each for each in blocks if not re.search(r'^name = "linux"$', each, re.M))
    file.write_text(kept.replace('kernel = "linux"\n', KERNEL, 1))
    (directory / "nexis.lock").unlink()
    return file


def test_a_system_whose_kernel_is_built_from_source(tmp_path: Path) -> None:
    file, images = system(tmp_path / "system"), tmp_path / "images"
    command = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(file), "--arch", "x86_64"]
    done = subprocess.run([*command, "--output", str(images)], cwd=ROOT, check=False)
    assert done.returncode == 0, "the build failed: see above"
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed: the images were built, but not started")
    with Console([str(images / "run-qemu.sh"), "--iso"]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        assert machine.run("cat /proc/version").startswith("Linux version 6.1.176 (build@nexis) ")
        # This kernel has no screen: that is nothing to complain about, again and again.
        assert b"/dev/tty1" not in console.transcript
        assert machine.run("hostname") == "minimal"
        console.send("poweroff\n")
        assert console.ended(120) == 0
