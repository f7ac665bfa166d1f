"""``nexis-store verify --rebuild-with`` repairs what the engine has built, by having the engine build it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nexis_store.store import Store

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / "examples/minimal/system.toml"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_damaged_library_is_built_again(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(SYSTEM), "zlib"]
    home = tmp_path / "store"
    subprocess.run([*build, "--store", str(home)], check=True, cwd=ROOT)
    with Store.open(home) as store:
        library = store.path(store.find("zlib")) / "usr/lib/libz.a"
    right = library.read_bytes()
    library.chmod(0o644)
    # In place, as a disk that rots: the pool's name for these bytes is as bad as this one.
    with library.open("r+b") as file:
        file.seek(5000)
        file.write(b"rotten")
    library.chmod(0o444)
    verify = [sys.executable, "-m", "nexis_store.cli.main", "verify", "--contents", "zlib", "--store", str(home)]
    assert subprocess.run(verify, cwd=ROOT).returncode == 4
    done = subprocess.run([*verify, "--rebuild-with", " ".join(build)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "repaired: damaged: " in done.stdout and done.stdout.endswith("no problems\n")
    assert library.read_bytes() == right
    assert subprocess.run(verify, cwd=ROOT).returncode == 0
