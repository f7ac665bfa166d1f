"""Laboratories leave nothing behind, however they end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from nexis_eval.execute.runner import SandboxRunner
from nexis_eval.repro.rebuild import ELSEWHERE, Laboratory
from nexis_eval.repro.vary import Setup, Tools
from nexis_store.store import default_store_root
from tests.eval.repro.elsewhere import elsewhere_now, expect_nothing_since, is_held
from tests.eval.repro.packages import Bench
from tests.eval.sandbox.rooms import require_sandbox


def test_what_a_killed_check_left_on_another_file_system_is_removed(tmp_path: Path) -> None:
    """But not what a living one is at work in, nor what somebody else's link leads to."""
    elsewhere = tmp_path / "elsewhere"
    dead, living = elsewhere / f"{ELSEWHERE}dead", elsewhere / f"{ELSEWHERE}living"
    others, project = elsewhere / "others", tmp_path / "project"
    for place in (dead / "b/deep", living, others, project):
        place.mkdir(parents=True)
    for place in (dead, living, others, project):
        (place / "lock").touch()
    (elsewhere / f"{ELSEWHERE}link").symlink_to(project)
    (dead / "b").chmod(0o555)
    with (living / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Laboratory(tmp_path / "work", SandboxRunner(), Tools(other_file_system=elsewhere), 1) as room:
            own = room.tools.other_file_system
            assert own is not None and own.parent == elsewhere and own.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in elsewhere.iterdir()} == {living.name, others.name, f"{ELSEWHERE}link"}
    assert (project / "lock").exists() and (others / "lock").exists()


def test_a_cancelled_build_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    mark = f"begun-{uuid4().hex}"

    def begun() -> bool:
        # Others who are at work here take their files away meanwhile.
        with suppress(FileNotFoundError):
            return any(list(place.rglob(mark)) for place in (bench.path / "work", *elsewhere_now()))
        return begun()

    async def interrupted(room: Laboratory) -> None:
        setup = Setup(frozenset({"filesystem", "path"}))
        build = asyncio.create_task(room.build(bench.recipe("long", f": > /out/{mark}; sleep 1000\n"), setup))
        while not begun():
            await asyncio.sleep(0.05)
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await build
        assert not begun()

    before = elsewhere_now()
    bench.run(interrupted)
    assert not list((bench.path / "work").iterdir())
    expect_nothing_since(before)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_nothing(how: signal.Signals) -> None:
    """Ctrl-C and kill in the middle of a build of the real command, in a session of its own as a terminal gives it."""
    require_sandbox()
    program = Path(sys.executable).with_name("nexis-eval")
    engines = default_store_root() / ".build"
    before = elsewhere_now() | set(engines.glob("engine-*"))
    with subprocess.Popen(
        [program, "repro", "check", "examples/minimal", "busybox"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # A shell's background job is born deaf to Ctrl-C, and so would its children be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        told = next((line for line in process.stderr if "round 1, varied" in line), None)
        assert told is not None
        time.sleep(2)
        os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
        rest = process.stderr.read()
        assert process.wait() == 130, rest
    assert "Traceback" not in rest
    left = (elsewhere_now() | set(engines.glob("engine-*"))) - before
    assert [path for path in left if not is_held(path)] == []
