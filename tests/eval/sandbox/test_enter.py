"""The shell at the failing point of a build: what ``nexis-eval debug`` puts around a script."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_eval.cli.debug import debug_spec
from nexis_eval.cli.enter import Room
from nexis_eval.graph.derivation import Derivation, Script
from nexis_eval.sandbox.spec import Bind
from tests.eval.sandbox import rooms

PROGRAM = """
import asyncio, pickle, sys
from nexis_eval.sandbox.interactive import run_interactive

sys.exit(asyncio.run(run_interactive(pickle.loads(bytes.fromhex(sys.argv[1])))).exit_code)
"""
SCRIPT = """\
set -euo pipefail
secret=kept
helper() { echo "helped $1"; }
export SEEN=yes
echo '@nexis phase unpack' >&3
cat
mkdir deep && cd deep
echo '@nexis phase build' >&3
made=1
bash -c 'echo child $BASH_ENV'
{}
"""


def debug(room: rooms.Room, command: str, typed: str) -> subprocess.CompletedProcess[str]:
    file = room.path / "script"
    file.write_text(SCRIPT.replace("{}\n", f"{command}\n"))
    derivation = Derivation("thing", Script(""), platform="x86_64", version="1.0")
    spec = room.spec("", argv=("/bin/bash", "/in/script"), binds=(Bind("/in/script", file),))
    staged = Room(derivation, spec, room.path)
    spec = debug_spec(staged)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, pickle.dumps(spec).hex()],
        input=typed,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )


def test_a_shell_where_the_build_failed(room: rooms.Room) -> None:
    typed = "pwd; helper you; echo $secret $made $SEEN; touch /out/x && false; echo still here; exit 77\n"
    result = debug(room, "ls /no/such", typed)
    assert result.stdout.splitlines() == [
        "child",
        "",
        "thing-1.0 failed in phase 'build' (exit code 2)",
        "at: ls /no/such",
        "This is its sandbox, at that point, in /build/deep. /in/script is the build; nothing is kept when you leave.",
        "'bash /in/script' runs the whole build again.",
        "/build/deep",
        "helped you",
        "kept 1 yes",
        "still here",
    ]
    assert result.returncode == 2, "the build's code, not the shell's"


def test_a_build_that_succeeds_opens_nothing(room: rooms.Room) -> None:
    result = debug(room, "true", "echo not reached\n")
    assert (result.returncode, result.stdout) == (0, "child\n")


@pytest.mark.parametrize("command", ["exit 3", "helper x; return 4 2>/dev/null || exit 4", "(exit 5)", "make_no_such"])
def test_every_way_to_fail(room: rooms.Room, command: str) -> None:
    result = debug(room, command, "echo reached $NEXIS_FAILED_STATUS\n")
    assert result.stdout.splitlines()[-1] == f"reached {result.returncode}"
    assert result.returncode in (3, 4, 5, 127)
