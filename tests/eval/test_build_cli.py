"""``nexis-eval build`` as a person meets it when something goes wrong: what they read, and what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.eval.person import Person
from tests.eval.processes import processes_with, wait_for_process
from tests.eval.roots import make_rules
from tests.eval.sandbox.rooms import require_sandbox

INSTALL = 'phases.install = "mkdir -p $OUT/usr; touch $OUT/usr/made"\n'


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    require_sandbox()
    person = Person(tmp_path_factory.mktemp("person"), make_rules(tmp_path_factory.mktemp("rules")))
    person.write(
        good='phases.build = "echo $RANDOM"\n' + INSTALL,
        killed='phases.build = "kill -SEGV $$"\n' + INSTALL,
        missing='phases.build = "frobnicate --all"\n' + INSTALL,
        empty='phases.install = "true"\n',
        needs='build_dependencies = ["killed"]\n' + INSTALL,
        late='phases.build = "sleep 98711"\n' + INSTALL,
        many='phases.build = "for i in {1..40}; do sleep 98711 & done; wait"\n' + INSTALL,
        large='phases.install = "cat /dev/zero >$OUT/large"\n',
        files='phases.build = "for i in {1..64}; do cat /bin/bash >$i; done; sleep 98711"\n' + INSTALL,
        memory='phases.build = "cat /dev/zero >/dev/shm/much"\n' + INSTALL,
        hangs='phases.build = "sleep 98712"\n' + INSTALL,
        log='phases.build = "while :; do echo 98711; done"\n' + INSTALL,
    )
    return person


def failure(told: str, label: str) -> str:
    """What is told of one failure: from its first line up to its hints."""
    found = re.search(rf"^error: {label} (?:.|\n)*?(?=^(?!hint|  ).*\n)", told, re.MULTILINE)
    assert found, told
    return found[0]


def test_several_failures(person: Person) -> None:
    done = person.types("build", "-k", "good", "killed", "missing", "empty", "needs")
    assert done.returncode == 1
    told = done.stderr
    killed = failure(told, "killed-1.0")
    assert "failed in phase 'build': exit code 139: killed by SIGSEGV (Segmentation fault)\n" in killed
    assert "  not built because of this: needs-1.0\n" in killed
    assert "hint: 'nexis-eval log killed' shows the whole log, 'nexis-eval debug killed' opens a shell" in killed
    missing = failure(told, "missing-1.0")
    assert "  the command that failed: frobnicate --all\n" in missing
    assert "frobnicate: command not found\n" in missing
    assert (
        "hint: no input of the build has 'frobnicate': sets of the toolchain go into the package's 'tools'" in missing
    )
    empty = failure(told, "empty-1.0")
    assert "failed in phase 'fixup': exit code 1\n" in empty
    assert "  | nothing was installed into /out\n" in empty
    assert re.search(r"^\d+ built, .*3 failed", told, re.MULTILINE)
    assert {*re.search(r"^failed: (.*)$", told, re.MULTILINE)[1].split(", ")} == {  # type: ignore[index]
        "killed-1.0",
        "missing-1.0",
        "empty-1.0",
    }
    assert "not built because of these: needs-1.0\n" in told
    again = person.types("build", "killed")
    assert "building killed-1.0" in again.stderr, "a failure is not remembered"
    assert person.types("build", "good").stderr.startswith("nothing to do"), "what was good is"


@pytest.mark.parametrize(
    ("name", "limit", "why"),
    [
        ("late", "time=0.5s", "it took longer than 0.5 s"),
        ("many", "processes=20", "it had more than 20 processes"),
        ("large", "output=1M", "it wrote a file of 1 MiB or more: /out/large"),
        ("files", "disk=4M", "it wrote more than 4 MiB to disk"),
        ("memory", "memory=48M", "it used more than 48 MiB of memory"),
        ("log", "log=4M", "it wrote a log of 4 MiB or more"),
    ],
)
def test_limits(person: Person, name: str, limit: str, why: str) -> None:
    done = person.types("build", name, "--limit", limit)
    assert done.returncode == 1
    told = failure(done.stderr, f"{name}-1.0")
    assert f"': {why}\n" in told
    assert told.endswith("shows the whole log; --limit and --max-memory say how much a build may use\n")
    assert processes_with("98711") == []


@pytest.mark.parametrize("value", ["time", "time=x", "tempo=3", "memory=-1", "processes=1.5"])
def test_limits_that_are_none(person: Person, value: str) -> None:
    done = person.types("build", "good", "--limit", value)
    assert done.returncode == 2
    assert "argument --limit: " in done.stderr


def test_sigterm_stops_a_build_that_a_script_started_in_the_background(person: Person) -> None:
    """Such a one ignores Ctrl-C, as its shell said."""
    command = person.command("build", "hangs")
    script = '"$@" 2>&1 & echo $!; wait $!; echo code $?'
    with subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", *command],
        cwd=person.directory,
        env=person.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        try:
            wait_for_process("98712")
            os.kill(pid, signal.SIGINT)
            time.sleep(0.2)
            assert processes_with("98712"), "ignored"
            os.kill(pid, signal.SIGTERM)
            assert "code 130\n" in shell.stdout.read()
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert processes_with("98712") == []
    assert list((person.directory / "store/.build").iterdir()) == []


def test_ctrl_z_gives_the_terminal_back(person: Person) -> None:
    with person.sits_at("build", "hangs") as terminal:
        terminal.wait_for(r"build +hangs-1.0 .* build", 30)
        terminal.send("\x1a")
        deadline = time.monotonic() + 20
        while (pid := stopped(person.rules)) is None:
            assert time.monotonic() < deadline
            with suppress(AssertionError):
                terminal.wait_for("never", 0.1)
        os.kill(pid, signal.SIGCONT)
        terminal.wait_for(r"build +hangs-1.0 .* build", 30)
        terminal.send("\x03")
        terminal.wait_for(r"interrupted; the same command again goes on from here\n(.*\n)*.*DONE 130", 20)


def stopped(rules: Path) -> int | None:
    """The process of a command that is stopped."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(rules).encode() in (entry / "cmdline").read_bytes() and ") T " in (entry / "stat").read_text():
                return int(entry.name)
    return None


def test_a_place_that_takes_no_result_is_told_before_anything_is_built(person: Person) -> None:
    place = person.directory / "place"
    place.write_text("a file")
    done = person.types("build", "good", "-o", "place")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: place cannot be written: place is a file, not a directory [E0009]\n"
    place.unlink()
    (place / "usr/made").mkdir(parents=True)
    done = person.types("build", "good", "-o", "place")
    assert done.returncode == 2
    assert done.stderr.endswith("error: place/usr/made cannot be written: Is a directory [E0009]\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("why-depends good", "error: 1 target given (good), 2 wanted [E0005]\n"),
        ("why-depends good killed empty", "error: 3 targets given (good, killed, empty), 2 wanted [E0005]\n"),
        ("graph --depth -1", "graph: error: argument --depth: '-1' is not a number of steps: write 0, 1, 2 …\n"),
        ("graph --depth x", "graph: error: argument --depth: 'x' is not a number of steps: write 0, 1, 2 …\n"),
        ("fetch --from nosuch", "error: there is no bundle nosuch [F0007]\n"),
    ],
)
def test_what_is_wrong_on_a_command_line_is_said_in_words(person: Person, words: str, told: str) -> None:
    done = person.types(*words.split())
    assert done.returncode == 2
    assert told in done.stderr
