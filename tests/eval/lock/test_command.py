"""``nexis-eval lock`` as people use it: with a server, in a working copy, after a merge."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.cli.pinning import pinning
from nexis_eval.lock.conflicts import has_conflict, merged
from nexis_eval.lock.model import LockError, LockFormatError, format_lock, load_lock, parse_lock
from tests.eval.fetch.servers import Site


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def publish(site: Site, name: str, version: str) -> None:
    site.page(f"/{name}-{version}.bin", f"{name} {version}".encode())
    listing = "".join(f'<a href="{page[1:]}">x</a>' for page in site.pages if page.startswith(f"/{name}-"))
    site.page("/", site.pages["/"].data + listing.encode() if "/" in site.pages else listing.encode())


def write(site: Site, *names: str) -> None:
    tables = (
        f'[[packages]]\nname = "{name}"\nversion = "latest"\nsource = "{site.url}/{name}-{{version}}.bin"\n'
        for name in names
    )
    Path("system.toml").write_text("\n".join(tables))


def lock(*arguments: str) -> None:
    assert run(["lock", *arguments]) == 0


def version(name: str) -> str:
    return load_lock(Path("nexis.lock")).sources[name, "source", ""].version


@pytest.mark.usefixtures("here")
def test_one_package_is_updated_and_a_difference_changes_nothing(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        publish(site, name, "1.0")
    write(site, "a", "b")
    lock()
    text = Path("nexis.lock").read_text()
    assert hashlib.sha256(b"a 1.0").hexdigest() in text
    assert "wrote nexis.lock: 2 downloads" in capsys.readouterr().out
    for name in ("a", "b"):
        publish(site, name, "1.1")
    lock()
    assert capsys.readouterr().out == "nexis.lock: everything is pinned\n"
    lock("--diff", "--update", "a")
    shown = capsys.readouterr().out
    assert shown.count('-version = "1.0"') == shown.count('+version = "1.1"') == 1
    assert f'+hash = "sha256:{hashlib.sha256(b"a 1.1").hexdigest()}"' in shown
    assert hashlib.sha256(b"b 1.1").hexdigest() not in shown
    assert Path("nexis.lock").read_text() == text
    lock("--update", "a")
    assert (version("a"), version("b")) == ("1.1", "1.0")
    assert "a source: 1.0 (sha256:" in capsys.readouterr().out
    lock("--update-all")
    assert (version("a"), version("b")) == ("1.1", "1.1")


@pytest.mark.usefixtures("here")
def test_who_comes_second_completes_what_the_first_one_wrote(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        publish(site, name, "1.0")
    write(site, "a", "b")
    lock()
    old = Path("nexis.lock").read_text()
    for name in ("a", "b"):
        publish(site, name, "1.1")
    lock("--update", "a")
    of_the_first = Path("nexis.lock").read_text()
    Path("nexis.lock").write_text(old)
    capsys.readouterr()
    with ThreadPoolExecutor(1) as second:
        with pinning(Path("nexis.lock")):
            result = second.submit(lock, "--update", "b")
            told = ""
            while not told and not result.done():
                time.sleep(0.02)
                told = capsys.readouterr().err
            assert "waiting for another nexis-eval that is pinning in nexis.lock" in told
            Path("nexis.lock").write_text(of_the_first)
        result.result()
    assert (version("a"), version("b")) == ("1.1", "1.1")


# Merging


def git(*arguments: str, code: int = 0) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr


def commit(site: Site, branch: str, *names: str) -> None:
    git("switch", "-q", "-c", branch, "main")
    write(site, *names)
    lock()
    git("commit", "-qam", branch)


@pytest.fixture
def branched(here: Path, site: Site) -> Site:
    """A repository whose main branch has packages b, m and y."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed: nothing that could merge")
    for name in ("b", "c", "d", "m", "p", "y"):
        publish(site, name, "1.0")
    git("init", "-q", "-b", "main")
    write(site, "b", "m", "y")
    lock()
    git("add", "-A")
    git("commit", "-qm", "begin")
    return site


def test_packages_that_two_branches_add_merge_by_themselves(branched: Site) -> None:
    commit(branched, "left", "b", "c", "m", "y")
    commit(branched, "right", "b", "m", "p", "y")
    git("merge", "-q", "left", "-X", "ours")
    text = Path("nexis.lock").read_text()
    assert not has_conflict(text)
    assert text == format_lock(parse_lock(text))
    assert {key[0] for key in load_lock(Path("nexis.lock")).sources} == {"b", "c", "m", "p", "y"}


def test_neighbours_that_two_branches_add_are_put_together(branched: Site, capsys: pytest.CaptureFixture[str]) -> None:
    commit(branched, "left", "b", "c", "m", "y")
    commit(branched, "right", "b", "d", "m", "y")
    git("merge", "-q", "left", code=1)
    write(branched, "b", "c", "d", "m", "y")
    with pytest.raises(LockFormatError, match="not a lock file") as caught:
        load_lock(Path("nexis.lock"))
    assert caught.value.hint == "it holds a merge conflict: 'nexis-eval lock' keeps what both sides have"
    asked = len(branched.requests)
    lock()
    assert "kept what both sides of the merge have\n" in capsys.readouterr().err
    assert len(branched.requests) == asked
    found = load_lock(Path("nexis.lock"))
    assert {key[0] for key in found.sources} == {"b", "c", "d", "m", "y"}
    assert Path("nexis.lock").read_text() == format_lock(found)


def test_what_two_branches_pin_differently_is_pinned_anew(branched: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for branch, new in (("left", "1.1"), ("right", "1.2")):
        git("switch", "-q", "-c", branch, "main")
        publish(branched, "m", new)
        lock("--update", "m")
        git("commit", "-qam", branch)
    git("-c", "merge.conflictStyle=diff3", "merge", "-q", "left", code=1)
    lock()
    assert "pinning anew what they disagree about: m" in capsys.readouterr().err
    assert (version("b"), version("m"), version("y")) == ("1.0", "1.2", "1.0")


def test_a_side_that_is_no_lock_is_refused() -> None:
    with pytest.raises(LockFormatError):
        merged("format = 1\n<<<<<<< a\nx\n=======\n>>>>>>> b\n")


def test_a_stale_hash_is_told_by_build_and_lock(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    site.page("/a-2", b"new")
    Path("system.toml").write_text(
        f'[[packages]]\nname = "a"\nversion = "2"\nsource = "{site.url}/a-{{version}}"\nhash = "sha256:{"0" * 64}"\n'
    )
    now = f"sha256:{hashlib.sha256(b'new').hexdigest()}"
    assert run(["build", "a-source", "--arch", "x86_64", "--store", str(tmp_path / "store")]) == 3
    told = capsys.readouterr().err
    assert f"system.toml:5:8: 'hash' is of another file: what is there now has {now}\n" in told
    assert "correct 'hash' at system.toml:5:8" in told
    assert "lock --update" not in told
    with pytest.raises(LockError) as caught:
        run(["lock", "--update", "a", "--store", str(tmp_path / "store")])
    assert (str(caught.value.place), caught.value.exit_code) == ("system.toml:5:8", 3)
    assert now in caught.value.message
