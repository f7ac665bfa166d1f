"""A kernel from source by its rule: the smallest there is, but for a serial console, started in QEMU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

SYSTEM = """\
[[packages]]
name = "tiny-linux"
version = "6.1.176"
source = "mirror://debian/pool/main/l/linux/linux_{version}.orig.tar.xz"
hash = "sha256:9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
build_system = "kernel"
options.base = "tinyconfig"

[packages.options.set]
CONFIG_64BIT = "y"
CONFIG_PRINTK = "y"
CONFIG_TTY = "y"
CONFIG_SERIAL_8250 = "y"
CONFIG_SERIAL_8250_CONSOLE = "y"
"""


def test_a_kernel_is_built_and_starts(tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text(SYSTEM)
    store = os.environ.get("NEXIS_STORE") or str(tmp_path / "store")
    command = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(tmp_path / "system.toml"), "tiny-linux"]
    done = subprocess.run([*command, "--store", store], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, "the build failed: see above"
    boot = Path(done.stdout.strip().splitlines()[-1]) / "boot"
    assert sorted(each.name for each in boot.iterdir()) == [
        f"{name}-6.1.176" for name in ("System.map", "config", "vmlinuz")
    ]
    assert "CONFIG_SERIAL_8250_CONSOLE=y\n" in (boot / "config-6.1.176").read_text()
    # The header that boot loaders look for: Documentation/x86/boot.rst.
    assert (boot / "vmlinuz-6.1.176").read_bytes()[0x202:0x206] == b"HdrS"
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        pytest.skip("qemu-system-x86_64 is not installed: the kernel was built, but not started")
    words = ["-M", "pc", "-m", "128", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel"]
    append = ["-append", "console=ttyS0 panic=-1"]
    started = subprocess.run(
        [qemu, *words, boot / "vmlinuz-6.1.176", *append], stdout=subprocess.PIPE, check=False, timeout=300
    )
    assert b"Linux version 6.1.176 (build@nexis)" in started.stdout
    assert b"No working init found" in started.stdout or b"Unable to mount root fs" in started.stdout
