"""Patches as a build applies them: what ``patch`` and ``git apply`` do, or a refusal that names the reason."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexis_eval.config.model import Package
from tests.eval.test_rules import run_script

Files = dict[str, bytes]

BASE: Files = {
    "text": b"one\ntwo\nthree\n",
    "src/a": b"1\n2\n3\n4\n5\n6\n7\n8\n9\n",
    "dos": b"one\r\ntwo\r\nthree\r\n",
    "empty": b"",
}


@pytest.fixture(autouse=True)
def tools() -> None:
    for tool in ("patch", "git", "perl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def write(top: Path, files: Files) -> None:
    for name, data in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)


def files_of(top: Path) -> dict[str, bytes | str]:
    return {
        str(each.relative_to(top)): each.readlink().as_posix() if each.is_symlink() else each.read_bytes()
        for each in top.rglob("*")
        if (each.is_file() or each.is_symlink()) and ".git" not in each.parts
    }


def build(
    directory: Path, base: Files, *patches: bytes, prepare: Callable[[Path], object] = lambda top: None
) -> tuple[int, str, dict[str, bytes | str]]:
    """What a build with these patches made of the files: exit code, log, files."""
    source = directory / "in" / "source"
    source.mkdir(parents=True)
    write(source, base)
    prepare(source)
    names = []
    for number, patch in enumerate(patches):
        (directory / "in" / f"{number}").mkdir()
        (directory / "in" / f"{number}" / "p.patch").write_bytes(patch)
        names.append(f"/in/{number}/p.patch")
    package = Package("x", build_system="script", phases={"install": 'mkdir "$OUT"/opt; touch "$OUT"/opt/x'})
    done = run_script(package, directory, source="/in/source", patches=tuple(names))
    return done.returncode, done.stdout + done.stderr, files_of(directory / "build" / "source")


class Repository:
    """A git repository that begins with ``BASE``."""

    def __init__(self, top: Path, base: Files = BASE) -> None:
        self.top = top
        top.mkdir()
        self.git("init", "-q")
        write(top, base)
        self.commit()
        self.first = self.git("rev-parse", "HEAD").decode().strip()

    def git(self, *words: str) -> bytes:
        settings = (
            "-c",
            "user.name=n",
            "-c",
            "user.email=e",
            "-c",
            "core.autocrlf=false",
            "-c",
            "commit.gpgsign=false",
        )
        return subprocess.run(["git", *settings, *words], cwd=self.top, check=True, capture_output=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change\n\nwith a reason")

    def diff(self, *words: str) -> bytes:
        return self.git("diff", *words, self.first, "HEAD")

    def mails(self) -> bytes:
        return self.git("format-patch", "--stdout", self.first)


def line_twice(top: Path) -> None:
    text = (top / "text").read_text()
    (top / "text").write_text(text.replace("TWO", "zwei").replace("two", "TWO"))


def made_or_more(top: Path) -> None:
    with (top / "src/new").open("a") as file:
        file.write("line\n")


def made_or_gone(top: Path) -> None:
    (top / "src/new").unlink() if (top / "src/new").exists() else made_or_more(top)


def gone_or_again(top: Path) -> None:
    if (top / "src/a").exists():
        (top / "src/a").unlink()
    else:
        (top / "src").mkdir(exist_ok=True)
        (top / "src/a").write_text("again\n")


def renamed(top: Path) -> None:
    (top / "src/a").rename(top / "src/b")


def renamed_and_changed(top: Path) -> None:
    renamed(top)
    (top / "src/b").write_text((top / "src/b").read_text().replace("5", "five"))


def copied(top: Path) -> None:
    (top / "src/copy").write_bytes((top / "src/a").read_bytes())


def linked(top: Path) -> None:
    (top / "link").symlink_to("src/a")


def empty_made(top: Path) -> None:
    (top / "new").touch()


def empty_gone(top: Path) -> None:
    (top / "empty").unlink()


def odd_names(top: Path) -> None:
    (top / "sp ace").write_text("x\n")
    (top / "größe").write_text("x\n")
    (top / 'quo"te\\').write_text("x\n")


def dos_changed(top: Path) -> None:
    (top / "dos").write_bytes((top / "dos").read_bytes().replace(b"two", b"TWO"))


CHANGES = {
    "a line twice": (line_twice, line_twice),
    "made, then changed": (made_or_more, made_or_more),
    "made and deleted": (made_or_more, made_or_gone),
    "deleted and made again": (gone_or_again, gone_or_again),
    "renamed": (renamed,),
    "renamed, then changed back": (renamed_and_changed, made_or_more),
    "copied": (copied,),
    "linked": (linked,),
    "empty made": (empty_made,),
    "empty deleted": (empty_gone,),
    "odd names": (odd_names,),
    "line ends of DOS": (dos_changed,),
    "a new file only": (made_or_more,),
}


@pytest.mark.parametrize("form", ["mails", "diff", "no-prefix", "mnemonic", "commits"])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_what_git_writes_applies(tmp_path: Path, changes: tuple[Callable[[Path], None], ...], form: str) -> None:
    repository = Repository(tmp_path / "repository")
    for change in changes:
        change(repository.top)
        repository.commit()
    patches: list[bytes] = {
        "mails": lambda: [repository.mails()],
        "diff": lambda: [repository.diff("-M", "-C", "--find-copies-harder")],
        "no-prefix": lambda: [repository.diff("--no-prefix", "-M")],
        "mnemonic": lambda: [repository.diff("--src-prefix=i/", "--dst-prefix=w/")],
        "commits": lambda: [
            repository.git("format-patch", "--stdout", f"{commit}^..{commit}")
            for commit in repository.git("rev-list", "--reverse", f"{repository.first}..HEAD").decode().split()
        ],
    }[form]()
    patches = [each for each in patches if each]
    code, log, files = build(tmp_path / "build", BASE, *patches)
    assert code == 0, log
    assert files == files_of(repository.top)


def test_modes_of_git_are_kept(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    (repository.top / "text").chmod(0o755)
    repository.commit()
    code, log, _ = build(tmp_path / "build", BASE, repository.diff())
    assert code == 0, log
    assert (tmp_path / "build/build/source/text").stat().st_mode & 0o111


TWO = "@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"
PLAIN = f"--- a/text\n+++ b/text\n{TWO}"
NEW = "--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+new\n"
PATCHED = {**BASE, "text": b"one\nTWO\nthree\n"}

APPLIED = {
    "unified": (PLAIN, PATCHED),
    "prose around": (f"From: somebody\n\nA reason.\n---\n text | 2 +-\n\n{PLAIN}-- \n2.39.2\n\n", PATCHED),
    "dates behind the names": (PLAIN.replace("/text\n", "/text\t2020-01-01 00:00:00.000000000 +0000\n"), PATCHED),
    "level 0": (PLAIN.replace("a/text", "text").replace("b/text", "text"), PATCHED),
    "level 2": (PLAIN.replace("/text", "/b/text"), PATCHED),
    "an original beside it": (PLAIN.replace("a/text", "a/text.orig"), PATCHED),
    "absolute names": (PLAIN.replace("a/text", "/text").replace("b/text", "/text"), PATCHED),
    "svn": (f"Index: text\n{'=' * 67}\n--- text\t(revision 1)\n+++ text\t(working copy)\n{TWO}", PATCHED),
    "context": (
        "*** a/text\n--- b/text\n***************\n"
        "*** 1,3 ****\n  one\n! two\n  three\n--- 1,3 ----\n  one\n! TWO\n  three\n",
        PATCHED,
    ),
    "an offset": (PLAIN.replace("-1,3 +1,3", "-41,3 +41,3"), PATCHED),
    "fuzz": (PLAIN.replace(" three", " drei"), PATCHED),
    "only in": (f"Only in b: text.orig\n{PLAIN}", PATCHED),
    "CRLF on LF": (PLAIN.replace("\n", "\r\n"), PATCHED),
    "CRLF on CRLF": (
        PLAIN.replace("/text", "/dos").replace("\n", "\r\n"),
        {**BASE, "dos": b"one\r\nTWO\r\nthree\r\n"},
    ),
    "git with CRLF on CRLF": (
        f"diff --git a/dos b/dos\nindex 1..2 100644\n{PLAIN.replace('/text', '/dos')}".replace("\n", "\r\n"),
        {**BASE, "dos": b"one\r\nTWO\r\nthree\r\n"},
    ),
    "a new file below a directory that is there": (NEW.format(name="src/new"), {**BASE, "src/new": b"new\n"}),
    "a new file at level 1": (NEW.format(name="b/src/new"), {**BASE, "src/new": b"new\n"}),
    "a new directory": (NEW.format(name="b/deep/er/new"), {**BASE, "deep/er/new": b"new\n"}),
    "the last file of a directory": (
        "--- a/src/a\n+++ /dev/null\n@@ -1,9 +0,0 @@\n" + "".join(f"-{each}\n" for each in range(1, 10)),
        {name: data for name, data in BASE.items() if name != "src/a"},
    ),
    "no newline at the end": (
        "--- a/text\n+++ b/text\n@@ -1,3 +1,3 @@\n one\n two\n-three\n+three\n\\ No newline at end of file\n",
        {**BASE, "text": b"one\ntwo\nthree"},
    ),
    "a file twice": (f"{PLAIN}{PLAIN.replace('TWO', '2').replace('two', 'TWO')}", {**BASE, "text": b"one\n2\nthree\n"}),
}


@pytest.mark.parametrize(("patch", "expected"), APPLIED.values(), ids=APPLIED.keys())
def test_a_patch_of_any_kind_applies(tmp_path: Path, patch: str, expected: Files) -> None:
    code, log, files = build(tmp_path, BASE, patch.encode())
    assert code == 0, log
    assert files == expected
    assert sorted(each.name for each in (tmp_path / "build").iterdir()) == ["source"]
    if "src/a" not in expected:
        assert not (tmp_path / "build/source/src").exists()


BINARY = "Binary files a/x and b/x differ\n"
REFUSED = {
    "a binary file alone": (BINARY, "says in line 1 that a binary file differs"),
    "a binary file beside a text": (f"{PLAIN}diff --git a/x b/x\nindex 1..2 100644\n{BINARY}", "binary file differs"),
    "a binary file before a text": (f"{BINARY}{PLAIN}", "binary file differs"),
    "svn's binary file": (f"Cannot display: file marked as a binary type.\n{PLAIN}", "binary file differs"),
    "git's binary patch": (
        f"{PLAIN}diff --git a/x b/x\nnew file mode 100644\nindex 0..1\nGIT binary patch\nliteral 2\nJcmZQz00031\n\n",
        "changes a binary file in line 11",
    ),
    "nothing": ("", "is empty"),
    "blank lines": ("\n \n", "is empty"),
    "prose": ("This is not a patch.\n", "changes nothing"),
    "a page": ("<!DOCTYPE html>\n<html></html>\n", "changes nothing"),
    "UTF-16": ("\ufeff" + PLAIN, "is UTF-16"),
    "a part without a hunk": (f"{PLAIN}--- a/src/a\n+++ b/src/a\n", "has no change of b/src/a"),
    "a hunk without a file": (f"{TWO}{PLAIN}", "has a change in line 1 without the name of a file"),
    "git's part without a change": (
        f"diff --git a/src/a b/src/a\nindex 1..2\n{PLAIN}",
        "names b/src/a in line 1, and b/text in line 3",
    ),
    "git's part without anything": (f"{PLAIN}diff --git a/src/a b/src/a\nindex 1..2\n", "has no change of a/src/a"),
    "climbs": (NEW.format(name="b/../../x"), "leads out of the source"),
    "climbs at any level": (NEW.format(name="../../../../x"), "leads out of the source"),
    "half of it applies": (PLAIN + PLAIN.replace("/text", "/src/a"), "does not apply"),
    "a file that is not there": (PLAIN.replace("/text", "/none"), "does not apply"),
    "a new file that is there": (NEW.format(name="b/text"), "does not apply"),
    "applied before": (PLAIN.replace("-two\n+TWO", "-2\n+two"), "does not apply"),
    "cut in a hunk": (PLAIN[:-7] + "\n" + PLAIN, "does not apply"),
    "beyond a link": (NEW.format(name="b/way/new"), "new lies beyond a symbolic link, way"),
    "over a link": (PLAIN.replace("/text", "/pointer"), "does not apply"),
}


@pytest.mark.parametrize(("patch", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_applied_whole_is_refused_with_the_reason(tmp_path: Path, patch: str, reason: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    def links(top: Path) -> None:
        (top / "way").symlink_to(outside)
        (top / "pointer").symlink_to("text")

    raw = patch.encode("utf-16-le") if patch.startswith("\ufeff") else patch.encode()
    code, log, files = build(tmp_path / "build", BASE, raw, prepare=links)
    assert code == 1, log
    assert reason in log, log
    assert "phase patch failed with status 1, at: perl -e " in log
    assert files == {**BASE, "way": str(outside), "pointer": "text"}
    assert list(outside.iterdir()) == []


def test_one_patch_of_a_series_that_fails_stops_the_build(tmp_path: Path) -> None:
    code, log, _ = build(tmp_path, BASE, PLAIN.encode(), PLAIN.encode())
    assert code == 1 and "patch -p1: p.patch" in log and "does not apply" in log


lines = st.lists(st.sampled_from(["a", "b", "", "-- x", "--- x", "+++ y", "@@ -1 +1 @@", "\\ x", "é"]), max_size=12)
trees = st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e f", "größe"]), lines, min_size=1, max_size=4)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(trees, min_size=2, max_size=4))
def test_any_history_of_git_applies(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, list[str]]]
) -> None:
    top = tmp_path_factory.mktemp("history")
    contents = [{name: "".join(f"{each}\n" for each in text).encode() for name, text in one.items()} for one in history]
    repository = Repository(top / "repository", contents[0])
    for files in contents[1:]:
        repository.git("rm", "-rq", "--ignore-unmatch", ".")
        write(repository.top, files)
        repository.commit()
    mails = repository.mails()
    if b"\ndiff --git " not in mails:
        return
    # An empty commit is a mail without a change, which is no patch: only the others are given.
    code, log, files = build(top / "build", contents[0], mails)
    assert code == 0, log + mails.decode()
    assert files == files_of(repository.top)
    shutil.rmtree(top)
