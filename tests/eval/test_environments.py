"""The same in every environment: locales, umasks, users, closed streams, and what the machine does not have."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.eval.person import REPOSITORY, Person
from tests.eval.roots import make_rules
from tests.eval.sandbox.rooms import require_sandbox
from tests.eval.sandbox.test_ordinary_user import python_for

STORE = "from nexis_store.cli.main import main; import sys; sys.exit(main())"
NOBODY = 54321
"""A user without an account."""
PACKAGE = """
# zwölf Größen für 3 €
phases.build = "mkdir -p $OUT/usr/größe; printf 'zwölf €, \\\\376' >$OUT/usr/größe/Maß"
phases.install = "date +%z >$OUT/usr/date; umask >$OUT/usr/umask; locale >$OUT/usr/locale || true"
"""


@dataclass(frozen=True)
class Surroundings:
    """``shell`` runs before the command ``"$@"``; variables that are ``None`` are not set."""

    variables: dict[str, str | None]
    shell: str = ""
    user: int = 0


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the locale ``en_US.ISO-8859-1``."""
    path = tmp_path_factory.mktemp("locales")
    command = ["localedef", "--no-archive", "-i", "en_US", "-f", "ISO-8859-1", path / "en_US.ISO-8859-1"]
    if shutil.which("localedef") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine cannot make the locale (localedef, and Debian's package locales)")
    return path


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_sandbox()
    return make_rules(tmp_path_factory.mktemp("rules"))


@pytest.fixture
def person(tmp_path: Path, rules: Path) -> Person:
    return Person(tmp_path, rules)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, rules: Path) -> dict[str, str]:
    """What comes out where nothing is unusual."""
    return outcome(Person(tmp_path_factory.mktemp("usual"), rules), Surroundings({"LC_ALL": "C.UTF-8"}))


def run(
    person: Person, around: Surroundings, command: list[str], python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of Python in some surroundings."""
    variables = {**person.environment, "PYTHONDONTWRITEBYTECODE": "1", **around.variables}
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        variables.setdefault(name, None)
        if name not in around.variables:
            variables[name] = None
    shell = around.shell + 'exec "$@"' if "$@" not in around.shell else around.shell
    argv = ["/bin/sh", "-c", shell, "sh", python, *command[1:]]
    if around.user:
        argv = ["setpriv", f"--reuid={around.user}", f"--regid={around.user}", "--clear-groups", *argv]
    done = subprocess.run(
        argv,
        capture_output=True,
        cwd=person.directory,
        env={name: value for name, value in variables.items() if value is not None},
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done


def outcome(person: Person, around: Surroundings, python: str = sys.executable) -> dict[str, str]:
    """The digests of a build and of an added file, and what the lock says."""
    person.write(good=PACKAGE)
    (person.directory / "größe").write_text("3 €\n", encoding="utf-8")
    (person.directory / os.fsdecode(b"\xff")).write_bytes(b"\xff")
    if around.user:
        for path in [person.directory, *person.directory.iterdir()]:
            os.chown(path, around.user, around.user)

    def says(command: list[str]) -> str:
        done = run(person, around, command, python)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    def store(*words: str) -> str:
        return says(["python", "-c", STORE, *words])

    says(person.command("lock"))
    found = {"lock": (person.directory / "nexis.lock").read_text(encoding="utf-8")}
    found["lock"] = found["lock"].replace(str(person.directory), "")
    tree = json.loads(says(person.command("build", "good", "--json")))["results"]["good"]["out"]["digest"]
    found["build"] = tree
    for name in ("größe", os.fsdecode(b"\xff")):
        found[name] = store("add", name, "--name", "x").split()[0]
    found["files"] = store("ls", tree)
    store("ls")
    assert "no problem" in store("verify", "--contents")
    store("gc", "--dry-run")
    return found


SURROUNDINGS = {
    "C": Surroundings({"LC_ALL": "C"}),
    "POSIX": Surroundings({"LC_ALL": "POSIX"}),
    "no locale": Surroundings({}),
    "a locale that does not exist": Surroundings({"LC_ALL": "xx_XX.UTF-8"}),
    "UTF-8 forbidden": Surroundings({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "another encoding for streams": Surroundings({"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}),
    "umask 077": Surroundings({}, "umask 077; "),
    "umask 0": Surroundings({}, "umask 0; "),
    "time zone": Surroundings({"TZ": "Pacific/Kiritimati"}),
    "closed stdin": Surroundings({}, 'exec "$@" <&-'),
    "closed stderr": Surroundings({}, 'exec "$@" <&- 2>&-'),
    "no HOME": Surroundings({"HOME": None, "XDG_CACHE_HOME": None}),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_same_comes_out(person: Person, usual: dict[str, str], name: str) -> None:
    assert outcome(person, SURROUNDINGS[name]) == usual


def test_the_same_comes_out_in_latin_1(person: Person, usual: dict[str, str], latin: Path) -> None:
    around = Surroundings({"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(latin)})
    encoding = ["python", "-c", "import sys; print(sys.getfilesystemencoding())"]
    assert run(person, around, encoding).stdout == b"iso8859-1\n"
    assert outcome(person, around) == usual


def test_the_library_does_not_damage_names_in_latin_1(person: Person, latin: Path) -> None:
    around = Surroundings({"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(latin)})
    program = """
from pathlib import Path
from nexis_store.errors import StoreError
from nexis_store.store import Store
try:
    Store.open(Path("store"))
except StoreError as error:
    print(error)
"""
    assert run(person, around, ["python", "-c", program]).stdout.decode() == (
        "a store needs UTF-8 for the names of files, and this Python has iso8859-1\n"
        "hint: start it with PYTHONUTF8=1, or as 'python -X utf8'\n"
    )


@dataclass(frozen=True)
class Stranger:
    """A user without an account and without a home, who can read what is in ``person``'s directory."""

    person: Person
    around: Surroundings
    python: str


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    require_sandbox()
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to become another user")
    python = python_for(NOBODY)
    # Not below pytest's own directory, which the next run of any pytest closes to others.
    with TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        for package in ("nexis_eval", "nexis_store", "rules"):
            shutil.copytree(REPOSITORY / package, top / package, ignore=shutil.ignore_patterns("__pycache__"))
        (top / "toolchain").mkdir()
        (top / "here").mkdir()
        person = Person(top / "here", make_rules(top / "toolchain"))
        for kind in ("build", "system"):
            (person.rules / kind).unlink()
            (person.rules / kind).symlink_to(top / "rules" / kind)
        libraries = next(path for path in sys.path if path.endswith("site-packages"))
        variables = {"HOME": None, "XDG_CACHE_HOME": None, "PYTHONPATH": f"{top}:{libraries}"}
        around = Surroundings(variables, user=NOBODY)
        if run(person, around, ["python", "-c", "import blake3, lmdb, httpx, tomli, jinja2"], python).returncode:
            pytest.skip("another user cannot read the Python packages")
        yield Stranger(person, around, python)


def test_the_same_comes_out_for_a_user_without_account_and_home(usual: dict[str, str], stranger: Stranger) -> None:
    assert outcome(stranger.person, stranger.around, stranger.python) == usual


def test_a_user_without_a_home_is_told_how_to_say_where(stranger: Stranger) -> None:
    nowhere = {**stranger.around.variables, "NEXIS_STORE": None, "XDG_DATA_HOME": None}
    around = replace(stranger.around, variables=nowhere)
    done = run(stranger.person, around, ["python", "-c", STORE, "ls"], stranger.python)
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.decode() == (
        f"error[S0001]: user {NOBODY} has no home directory to keep a store in\n"
        "hint: set NEXIS_STORE to a directory for the store, or give --store DIR\n"
    )


def test_closed_stdout(person: Person) -> None:
    """What it prints goes nowhere, and into no file that is opened in its place."""
    person.write(good=PACKAGE)
    done = run(person, Surroundings({}, 'exec "$@" <&- >&- 2>&-'), person.command("build", "good"))
    assert done.returncode == 0
    listing = run(person, Surroundings({}), ["python", "-c", STORE, "verify", "--contents"])
    assert (listing.returncode, b"no problem" in listing.stdout) == (0, True)


@pytest.mark.parametrize("words", [["build"], ["targets"], ["show-derivation"]], ids=" ".join)
def test_a_working_directory_that_was_deleted(person: Person, words: list[str]) -> None:
    person.write(good=PACKAGE)
    gone = Surroundings({}, 'mkdir gone; cd gone; rmdir ../gone; exec "$@"')
    done = run(person, gone, person.command(*words))
    assert done.returncode == 2
    assert b"working directory was deleted" in done.stderr or b"system.toml" in done.stderr
    done = run(person, gone, person.command(*words, str(person.directory)))
    assert done.returncode == 0, done.stderr


def wait_until_quiet(process: subprocess.Popen[bytes]) -> None:
    """Until the process has said that a Ctrl-C shall end it, after the interpreter had said something else.

    On a busy machine it may be over before anybody looked.
    """
    began = caught = False
    while (caught or not began) and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"^SigCgt:\t(\w+)", status, re.MULTILINE)
        assert found is not None, status
        caught = bool(int(found[1], 16) & 1 << signal.SIGINT - 1)
        began = began or caught
        time.sleep(0.0005)


@pytest.mark.parametrize(("package", "words"), [("nexis_eval", ["check"]), ("nexis_store", ["ls", "--store", "none"])])
def test_ctrl_c_while_the_program_starts_is_silent(person: Person, package: str, words: list[str]) -> None:
    """As soon as the interpreter has come to a line of ours, and whatever is imported after that."""
    person.write(good=PACKAGE)
    program = f"import sys; sys.path[:0] = {sys.path}; from {package}.cli.entry import main; sys.exit(main())"
    codes = set()
    for step in range(16):
        with subprocess.Popen(
            [sys.executable, "-S", "-c", program, *words],
            cwd=person.directory,
            env=person.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            wait_until_quiet(process)
            time.sleep(step / 100)
            process.send_signal(signal.SIGINT)
            told = process.stderr.read()
            codes.add(code := process.wait())
        assert b"Traceback" not in told, told
        # A shell tells the first one as 130, too. "check" itself ends with 2 here: the rules do not have all tools.
        assert code in (-signal.SIGINT, 130, 0, 2, 4), (code, told)
        # Or it came so late that all was said.
        assert code != -signal.SIGINT or told == b"" or told.startswith(b"error[")
    assert -signal.SIGINT in codes


def test_results_are_alone_on_stdout(person: Person) -> None:
    person.write(good=PACKAGE)
    first, second = (person.types("build", "good") for _ in range(2))
    assert first.stdout == second.stdout
    assert Path(second.stdout.removesuffix("\n")).is_dir()
    assert second.stderr.startswith("nothing to do: ")
