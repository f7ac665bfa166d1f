"""Builds the systems that the tests boot: once an architecture, in one store that stays between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMULATORS = {arch: f"qemu-system-{arch}" for arch in ("x86_64", "aarch64", "riscv64")}


@pytest.fixture(scope="session")
def store() -> Path | None:
    """The store that is built in: ``$NEXIS_STORE``, or the default one, so that nothing is compiled twice."""
    named = os.environ.get("NEXIS_STORE")
    return Path(named) if named else None


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``images(arch, system="minimal")``: the directory with the images of that system for that architecture.

    A system is one of ``examples``, or of ``systems`` beside this file.
    """
    built: dict[tuple[str, str], Path] = {}

    def build(arch: str, example: str = "minimal") -> Path:
        emulator = EMULATORS[arch]
        if shutil.which(emulator) is None:
            pytest.skip(f"{emulator} is not installed: make setup")
        if (arch, example) not in built:
            directory = tmp_path_factory.mktemp(arch) / "images"
            own = ROOT / "tests/boot/systems" / example / "system.toml"
            file = own if own.exists() else ROOT / "examples" / example / "system.toml"
            command = [
                sys.executable, "-c", "import sys; from nexis_eval.cli.main import main; sys.exit(main())",
                "build", str(file), "--arch", arch, "--output", str(directory),
            ]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (
                f"building {example} for {arch} failed ({done.returncode}):\n{done.stderr[-4000:]}"
            )
            built[arch, example] = directory
        return built[arch, example]

    return build
