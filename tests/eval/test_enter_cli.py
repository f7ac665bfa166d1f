"""``debug``, ``shell`` and ``log`` as a person meets them: at a terminal, and without one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.eval.person import Person
from tests.eval.processes import wait_for_process
from tests.eval.roots import make_rules
from tests.eval.sandbox.rooms import require_sandbox

RESTORED = r"icanon; echo ;DONE "
INSTALL = 'phases.install = "mkdir -p $OUT/usr; cp made $OUT/usr/made"\n'


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    require_sandbox()
    person = Person(tmp_path_factory.mktemp("person"), make_rules(tmp_path_factory.mktemp("rules")))
    person.write(
        broken='env.COLOUR = "blue"\nphases.build = "mkdir deep; cd deep; ls /no/such; touch never"\n' + INSTALL,
        killed='phases.build = "kill -9 $$"\n' + INSTALL,
        good='phases.build = "echo $RANDOM >made"\n' + INSTALL,
        hangs='phases.build = "echo begun; sleep 98721"\n' + INSTALL,
        needs='build_dependencies = ["broken"]\nphases.build = "touch made"\n' + INSTALL,
    )
    return person


def read_until(terminal: Console, text: str) -> str:
    """All that came up to ``text``, with that."""
    found = terminal.wait_for(text, 30)
    return found.string[: found.end()].decode()


def test_a_shell_where_a_build_failed(person: Person) -> None:
    with person.sits_at("debug", "broken") as terminal:
        seen = read_until(terminal, r"\[broken-1.0:/build/source/deep\]\$ ")
        assert "broken-1.0 failed in phase 'build' (exit code 2)\n" in seen
        assert "at: ls /no/such\n" in seen
        assert "'run build' does the phase again; after it come: install fixup\n" in seen
        terminal.send("echo $COLOUR $PWD $(hostname 2>/dev/null || cat /etc/hostname 2>/dev/null) $((40+2))\r")
        terminal.wait_for(r"^blue /build/source/deep .*42$", 10)
        # Only what says that it runs can be stopped for sure.
        terminal.send("bash -c 'while :; do echo turn; sleep 0.1; done'\r")
        terminal.wait_for(r"^turn$", 10)
        terminal.send("\x1a")
        terminal.wait_for(r"Stopped", 10)
        terminal.send("fg\r")
        terminal.wait_for(r"^turn$", 10)
        terminal.send("\x03")
        terminal.wait_for(r"deep\]\$ ", 10)
        terminal.send("rmdir /build/source/deep; ls() { true; }; run build && echo again $?; exit\r")
        terminal.wait_for(r"^again 0$", 10)
        terminal.wait_for(RESTORED + "1", 10)


def test_a_build_whose_shell_was_killed_is_entered_too(person: Person) -> None:
    with person.sits_at("debug", "killed") as terminal:
        seen = read_until(terminal, r"\[killed-1.0:/build/source\]\$ ")
        assert "killed-1.0 failed in phase 'build' (exit code 137: killed by SIGKILL)\n" in seen
        terminal.send("cat source; exit\r")
        terminal.wait_for(r"^a source$", 10)
        terminal.wait_for(RESTORED + "1", 10)


def test_ctrl_c_stops_a_build_that_hangs_and_shows_it(person: Person) -> None:
    with person.sits_at("debug", "hangs") as terminal:
        terminal.wait_for(r"^begun$", 30)
        wait_for_process("98721")
        terminal.send("\x03")
        seen = read_until(terminal, r"\[hangs-1.0:/build/source\]\$ ")
        assert "hangs-1.0 was interrupted in phase 'build' (exit code 130)\nat: sleep 98721\n" in seen
        terminal.send("exit\r")
        terminal.wait_for(RESTORED + "1", 10)


def test_an_environment_to_work_in(person: Person) -> None:
    with person.sits_at("shell", "broken") as terminal:
        seen = read_until(terminal, r"\[broken-1.0:/build\]\$ ")
        assert "The build environment of broken-1.0 for x86_64: /in/script is the build,\n" in seen
        terminal.send("echo $COLOUR; ls /out | wc -l; exit 9\r")
        terminal.wait_for(r"^blue\n0$", 10)
        terminal.wait_for(RESTORED + "9", 10)


def test_a_terminal_is_restored_when_the_command_is_ended_from_outside(person: Person) -> None:
    with person.sits_at("shell", "broken") as terminal:
        terminal.wait_for(r"\[broken-1.0:/build\]\$ ", 30)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if str(person.rules).encode() in words and words[0] != b"/bin/sh":
                    os.kill(int(entry.parent.name), signal.SIGTERM)
        terminal.wait_for(RESTORED + "130", 10)


def test_without_a_terminal(person: Person) -> None:
    entered = person.types("shell", "broken", typed="echo $COLOUR\nexit 4\n")
    assert (entered.stdout, entered.returncode) == ("blue\n", 4)
    assert "job control" not in entered.stderr
    one = person.types("shell", "broken", "-c", "echo $COLOUR >&2; exit 5")
    assert (one.stdout, one.returncode) == ("", 5)
    assert one.stderr.endswith("blue\n")
    debugged = person.types("debug", "broken", typed="pwd\n")
    assert debugged.stdout.endswith("/build/source/deep\n")
    assert debugged.returncode == 1


def test_what_there_is_nothing_to_enter_for(person: Person) -> None:
    good = person.types("debug", "good")
    assert good.returncode == 0
    assert good.stderr.endswith("good-1.0 was built without a failure ('nexis-eval build' keeps the result)\n")
    none = person.types("debug", "nosuch")
    assert none.returncode == 2
    assert none.stderr.startswith("error: this system has no target 'nosuch' [E0003]\nhint: ")
    assert person.types("shell").stderr.startswith("error: no target given, 1 wanted [E0005]\nhint: ")
    no_script = person.types("shell", "toolchain:core")
    assert no_script.returncode == 2
    assert "it has no sandbox to enter [X0003]" in no_script.stderr
    needs = person.types("shell", "needs")
    assert needs.returncode == 1
    assert "hint: 'nexis-eval log broken' shows the whole log, 'nexis-eval debug broken' opens a shell" in needs.stderr
    assert "error: needs-1.0 cannot be entered: broken-1.0 failed to build [X0004]\n" in needs.stderr


def test_what_a_failure_suggests_works_as_it_stands(person: Person, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    arguments = (str(person.directory), "--set", 'packages.broken.env.COLOUR="a red one"')
    built = person.types("build", "broken", *arguments, "--keep-failed", at=elsewhere)
    assert built.returncode == 1
    suggested = built.stderr.partition("hint: '")[2].partition("' shows the whole log")[0]
    words = subprocess.run(["/bin/sh", "-c", f"printf '%s\\n' {suggested}"], capture_output=True, text=True, check=True)
    name, *rest = words.stdout.splitlines()
    assert name == "nexis-eval"
    log = person.types(*rest, at=elsewhere)
    assert log.returncode == 0
    assert "/no/such" in log.stdout
    kept = Path(built.stderr.partition("its directory was kept, for you to remove: ")[2].splitlines()[0])
    assert (kept / "build/source/deep").is_dir()
    assert "/no/such" in (kept / "log").read_text()


def test_logs(person: Person) -> None:
    none = person.types("log", "hangs")
    assert none.returncode == 2
    assert none.stderr == (
        "error: there is no log of hangs-1.0: it was not built yet [E0004]\nhint: 'nexis-eval build hangs' builds it\n"
    )
    building = subprocess.Popen(
        person.command("build", "hangs"), cwd=person.directory, env=person.environment, stderr=subprocess.DEVNULL
    )
    try:
        with person.sits_at("log", "hangs", "--follow") as follower:
            deadline = time.monotonic() + 30
            while "it is being built now" not in (asked := person.types("log", "hangs").stderr):
                assert building.poll() is None
                assert time.monotonic() < deadline, asked
            assert asked == (
                "error: there is no log of hangs-1.0 yet: it is being built now [E0004]\n"
                "hint: 'nexis-eval log hangs --follow' reads along\n"
            )
            # It may have come before the build began: then it waited, or found nobody at work.
            follower.wait_for(r"^begun$|DONE 2", 30)
            building.send_signal(signal.SIGTERM)
            assert building.wait(20) == 130
    finally:
        building.kill()
        building.wait()
