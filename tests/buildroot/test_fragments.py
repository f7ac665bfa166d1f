"""The kernel fragments, laid over the default configuration of a real kernel: every line sticks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_eval.platforms import PLATFORMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

BOARD = Path(__file__).resolve().parents[2] / "buildroot/board/nexisos"
NOT_FETCHED = 3
SYSTEM = """\
[[packages]]
name = "configuration"
version = "6.1.176"
source = "mirror://debian/pool/main/l/linux/linux_{version}.orig.tar.xz"
hash = "sha256:9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
build_system = "kernel"
options.config = { file = "fragment" }
options.strip = false
phases.build = ""
phases.install = "install -D -m 644 .config $OUT/boot/config"
"""


@pytest.mark.parametrize("arch", PLATFORMS)
def test_the_fragments_stick(arch: str, tmp_path: Path) -> None:
    names = ("linux.fragment", f"linux-{arch}.fragment")
    fragment = "".join((BOARD / name).read_text() for name in names)
    (tmp_path / "fragment").write_text(fragment)
    (tmp_path / "system.toml").write_text(SYSTEM)
    store = os.environ.get("NEXIS_STORE") or str(tmp_path / "store")
    command = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(tmp_path / "system.toml"), "configuration"]
    done = subprocess.run([*command, "--arch", arch, "--store", store], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == NOT_FETCHED:
        pytest.skip("the sources of the kernel cannot be had here: see above")
    # The rule compares every line with what came out, and says which was not taken.
    assert done.returncode == 0, "the fragments do not stick: see above"
    config = (Path(done.stdout.strip().splitlines()[-1]) / "boot/config").read_text().splitlines()
    assert "CONFIG_SECURITY_SELINUX=y" in config
    (modules,) = (line for line in config if line.startswith("CONFIG_LSM="))
    assert "selinux" in modules.split('"')[1].split(",")
    assert {line for line in fragment.splitlines() if line.startswith("CONFIG_")} <= set(config)
