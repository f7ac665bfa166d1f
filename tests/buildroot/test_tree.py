"""The BR2_EXTERNAL tree: what can be seen without Buildroot, and that a Buildroot loads it without a warning."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from nexis_eval.platforms import PLATFORMS

TREE = Path(__file__).resolve().parents[2] / "buildroot"
SOURCE = os.environ.get("BUILDROOT_SOURCE", "")
GENERATED = re.compile(r"^( {2}GEN .*|#|# configuration written to .*|make\[\d+\]: .*|)$")

needs_buildroot = pytest.mark.skipif(
    not SOURCE, reason="needs Buildroot: set BUILDROOT_SOURCE to the directory of a release (2026.02 or later)"
)


def defconfig(arch: str) -> Path:
    return TREE / "configs" / f"nexisos_{arch}_defconfig"


@pytest.mark.parametrize("arch", PLATFORMS)
def test_files_that_a_defconfig_names_are_there(arch: str) -> None:
    named = re.findall(r"\$\(BR2_EXTERNAL_NEXISOS_PATH\)/([^\" ]+)", defconfig(arch).read_text())
    assert len(named) >= 5
    for each in named:
        assert (TREE / each).exists(), each


def test_an_architecture_each() -> None:
    assert sorted(each.name for each in (TREE / "configs").iterdir()) == sorted(defconfig(a).name for a in PLATFORMS)


@pytest.mark.parametrize("arch", PLATFORMS)
def test_fragments_set_each_option_once(arch: str) -> None:
    board = TREE / "board" / "nexisos"
    lines = [
        line
        for name in ("linux.fragment", f"linux-{arch}.fragment")
        for line in (board / name).read_text().splitlines()
        if line and (not line.startswith("#") or line.endswith(" is not set"))
    ]
    options = [found.group() for line in lines if (found := re.search(r"CONFIG_\w+", line))]
    assert len(options) == len(lines) == len(set(options))


def test_the_image_script_lays_out_what_the_readme_promises(tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(b"kernel")
    subprocess.run([TREE / "board/nexisos/post-image.sh", tmp_path, "riscv64"], check=True)
    assert (tmp_path / "bzImage").read_bytes() == b"kernel"
    script = tmp_path / "run-qemu.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)
    assert "qemu-system-riscv64 -machine virt" in script.read_text()


def test_the_build_script_writes_os_release(tmp_path: Path) -> None:
    (tmp_path / "target/usr/lib").mkdir(parents=True)
    (tmp_path / "target/etc").mkdir()
    (tmp_path / ".config").write_text('BR2_NEXISOS=y\nBR2_NEXISOS_VERSION="0.1.0"\n')
    env = {**os.environ, "BR2_CONFIG": str(tmp_path / ".config")}
    subprocess.run([TREE / "board/nexisos/post-build.sh", tmp_path / "target", "x86_64"], check=True, env=env)
    assert 'PRETTY_NAME="NexisOS 0.1.0"\n' in (tmp_path / "target/etc/os-release").read_text()


@needs_buildroot
@pytest.mark.timeout(600)
@pytest.mark.parametrize("arch", PLATFORMS)
def test_buildroot_loads_it_silently_and_would_save_the_same(arch: str, tmp_path: Path) -> None:
    make = ["make", "-s", "-C", SOURCE, f"O={tmp_path}", f"BR2_EXTERNAL={TREE}"]
    loaded = subprocess.run([*make, f"nexisos_{arch}_defconfig"], capture_output=True, text=True, check=True)
    told = [line for line in (loaded.stdout + loaded.stderr).splitlines() if not GENERATED.match(line)]
    # What kconfig itself says while it is compiled is between Buildroot and the compiler.
    assert [line for line in told if "warning" in line.lower() and "support/kconfig" not in line] == []
    assert 'BR2_NEXISOS_VERSION="0.1.0"' in (tmp_path / ".config").read_text()
    saved = tmp_path / "saved"
    subprocess.run([*make, "savedefconfig", f"BR2_DEFCONFIG={saved}"], capture_output=True, check=True)
    assert saved.read_text() == defconfig(arch).read_text()
