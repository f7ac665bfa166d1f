"""What builds print, and what names say: kept within bounds, and harmless for whoever reads it on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_eval.execute.log import HEAD_BYTES, TAIL_BYTES
from tests.eval.person import REPOSITORY, Person
from tests.eval.roots import make_rules
from tests.eval.sandbox.rooms import require_sandbox

STORE = "from nexis_store.cli.main import main; import sys; sys.exit(main())"
HOSTILE = (
    r"\\033]52;c;cm0gLXJm\\007\\033[2J\\033[8mhidden\\033[0m\\033[31mred\\033[0m\\033Pq\\033\\\\\\342\\200\\256\\n"
)
STEERING = re.compile(
    rb"\x1b(?!\[[0-9;]*m)|\x1b\[8m|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\xe2\x80\xae|\xc2[\x80-\x9f]"
)
MIB = 1 << 20


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    require_sandbox()
    person = Person(tmp_path_factory.mktemp("person"), make_rules(tmp_path_factory.mktemp("rules")))
    install = "mkdir -p $OUT/usr; touch $OUT/usr/made"
    person.write(
        hostile=f"phases.build = \"printf '{HOSTILE}'; printf '{HOSTILE}' >&2; false\"\n",
        wide="phases.build = \"printf %48000000s x | tr ' ' x; echo; echo its end; false\"\n",
        chatty="phases.build = \"text=$(printf %500s x | tr ' ' x); for i in {1..70000}; do echo $i $text; done\"\n"
        f'phases.install = "{install}"\n',
        special=f'phases.install = "{install}; chmod 4755 $OUT/usr/made; echo said this"\n',
    )
    return person


def at_terminal(person: Person, command: list[str]) -> tuple[int, bytes]:
    """The exit code of a command and what it shows on a terminal."""
    outer, inner = os.openpty()
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, cwd=person.directory, env=person.environment
    ) as process:
        os.close(inner)
        shown = b""
        while True:
            try:
                data = os.read(outer, 1 << 16)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(outer)
        return process.wait(), shown


def most_memory(person: Person, *arguments: str) -> int:
    """Bytes that a command needed at most."""
    program = "import resource, subprocess, sys; subprocess.run(sys.argv[1:]); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *person.command(*arguments)],
        capture_output=True,
        cwd=person.directory,
        env=person.environment,
        check=True,
    )
    return int(done.stdout.split()[-1]) * 1024


def test_a_failure_is_told_without_what_steers_a_terminal(person: Person) -> None:
    done = person.types("build", "hostile")
    assert done.returncode == 1
    assert not STEERING.search(done.stderr.encode())
    assert "hiddenred" in done.stderr
    code, shown = at_terminal(person, person.command("build", "hostile", "--log-format", "plain"))
    assert (code, STEERING.search(shown)) == (1, None)
    code, shown = at_terminal(person, person.command("build", "hostile", "--log-format", "raw"))
    assert (code, STEERING.search(shown)) == (1, None)
    # The live view moves the cursor itself, and nothing but that.
    code, shown = at_terminal(person, person.command("build", "hostile"))
    assert code == 1
    assert STEERING.search(re.sub(rb"\x1b\[[0-9;?]*[A-Kmhl]", b"", shown.replace(b"\x1b[2J", b"\x07"))) is None


def test_a_log_is_raw_for_programs_and_harmless_for_people(person: Person) -> None:
    person.types("build", "hostile")
    raw = subprocess.run(
        person.command("log", "hostile"), capture_output=True, cwd=person.directory, env=person.environment, check=True
    ).stdout
    assert raw.count(b"\x1b]52;c;cm0gLXJm\x07") == 2
    code, shown = at_terminal(person, person.command("log", "hostile"))
    assert (code, STEERING.search(shown)) == (0, None)
    assert b"\x1b[31mred\x1b[0m" in shown


def test_a_line_without_end_is_cut(person: Person) -> None:
    done = person.types("build", "wide")
    assert done.returncode == 1
    assert len(done.stderr) < 20_000
    assert "its end" in done.stderr
    code, shown = at_terminal(person, person.command("log", "wide"))
    assert code == 0
    assert len(shown) < 1 << 20


def test_of_a_long_log_both_ends_are_kept(person: Person) -> None:
    assert person.types("build", "chatty").returncode == 0
    log = person.types("log", "chatty").stdout
    assert HEAD_BYTES + TAIL_BYTES < len(log) < HEAD_BYTES + TAIL_BYTES + 1000
    assert re.search(r"\nnexis: [\d,]+ bytes of this log were not kept\n", log)
    assert re.search(r"^1 x+$", log, re.MULTILINE)
    assert re.search(r"^70000 x+$", log, re.MULTILINE)
    assert most_memory(person, "log", "chatty") < 400 * MIB


def test_a_result_that_cannot_be_used_is_in_the_log_and_in_debug(person: Person) -> None:
    why = "special: usr/made has the special permission bits 4755"
    built = person.types("build", "special")
    assert (built.returncode, why in built.stderr) == (4, True), built.stderr
    log = person.types("log", "special")
    assert (log.returncode, log.stdout.splitlines()[-1]) == (0, f"nexis: {why}")
    assert "said this\n" in log.stdout
    debug = person.types("debug", "special")
    assert (debug.returncode, why in debug.stderr) == (4, True)
    assert "without a failure" not in debug.stderr


def test_names_cannot_steer_a_terminal(person: Person, tmp_path: Path) -> None:
    (tmp_path / "\x1b]52;c;cm0gLXJm\x07\x1b[2J").write_text("x")
    (tmp_path / "link").symlink_to("\x1b[8m\x9b2J")
    program = [sys.executable, "-c", STORE]
    digest = subprocess.run(
        [*program, "add", str(tmp_path), "--name", "names"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=person.environment,
        check=True,
    ).stdout.split()[0]
    for words in (
        ["ls"],
        ["ls", digest],
        ["ls", digest, "--json"],
        ["info", digest],
        ["du"],
        ["cat", digest, "\x1b[2J"],
    ):
        _, shown = at_terminal(person, [*program, *words])
        assert not STEERING.search(shown), (words, shown)
    for word in ("\x1b]0;x\x07", "\x1b[2J.toml"):
        for command in ("build", "check", "log", "explain", word):
            _, shown = at_terminal(person, person.command(command, word))
            assert not STEERING.search(shown), (command, shown)
