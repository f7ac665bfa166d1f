"""The same sandbox for root and for anybody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import nexis_eval
from tests.eval.sandbox.rooms import Room, require_sandbox

PACKAGES = Path(nexis_eval.__file__).parent.parent

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from nexis_eval.execute.runner import SandboxRun, SandboxRunner
from nexis_eval.sandbox.spec import Identity, Overlay, SandboxSpec

room = Path(sys.argv[1])
spec = SandboxSpec(
    overlays=(Overlay("/", (room / "root",)), Overlay("/usr", (Path("/usr"),))),
    build_directory=room / "build",
    out_directory=room / "out",
    argv=("/bin/bash", "-c", "id -u; touch /out/x; cat /proc/self/uid_map"),
    env=(("PATH", "/usr/bin"),),
)

async def work():
    runner = SandboxRunner()
    try:
        return (await runner.run(SandboxRun(spec, room / "log"))).exit_code
    finally:
        await runner.close()

print(json.dumps([asyncio.run(work()), (room / "log").read_text().split()]))
"""


def python_for(uid: int) -> str:
    """An interpreter that ``uid`` may execute."""
    for python in (sys.executable, "/usr/bin/python3"):
        # Through a shell: setpriv itself still has root's powers when it looks for the program.
        script = f"exec {python} -c 'import sys; print(sys.version_info[:2])'"
        command = ["setpriv", f"--reuid={uid}", "--clear-groups", "sh", "-c", script]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0 and result.stdout.strip() >= "(3, 11)":
            return python
    pytest.skip(f"no Python 3.11 that user {uid} may execute")


@pytest.fixture
def room() -> Iterator[Room]:
    """Not below pytest's own directory, which the next run of any pytest closes to others."""
    require_sandbox()
    with TemporaryDirectory() as name:
        yield Room.make(Path(name))


@pytest.mark.parametrize("uid", [1000, 65534])
def test_as_another_user(room: Room, uid: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user; as an ordinary user all other tests cover this")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    python = python_for(uid)
    room.path.chmod(0o755)
    for path in (room.path, room.build, room.out):
        os.chown(path, uid, uid)
    command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", python, "-B", "-c", PROGRAM, room.path]
    packages = room.path / "packages"  # where this user may read them: a home directory may be closed
    for name in ("nexis_eval", "nexis_store"):
        shutil.copytree(PACKAGES / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": str(packages), "PATH": os.environ["PATH"]}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [0, ["1000", "1000", "0", "1"]]
    assert (room.out / "x").stat().st_uid == uid
