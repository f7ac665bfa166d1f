"""``lock``, ``fetch``, ``bundle`` and ``build --offline`` as commands, with the servers switched off in between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.fetch.client import FetchError
from tests.eval.fetch.repositories import Repository
from tests.eval.fetch.servers import Site, git_backend

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: no servers to test with")

SYSTEM = """\
[[packages]]
name = "file"
version = "1.0"
source = ["{url}/gone-{{version}}.bin", "{url}/file-{{version}}.bin"]

[[packages]]
name = "repository"
version = "2.0"
source = ["git+{url}/gone.git/.git", "git+{url}/vim.git/.git"]
"""
TARGETS = ("file-source", "repository-source")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that is locked, and whose server is gone; what locking downloaded is in the default store."""
    repository = Repository(tmp_path / "srv" / "vim.git")
    repository.commit({"text": "hello"})
    repository.git("tag", "v2.0")
    monkeypatch.chdir(tmp_path)
    server = Site(git_backend(tmp_path / "srv"))
    try:
        server.page("/file-1.0.bin", b"content")
        Path("system.toml").write_text(SYSTEM.format(url=server.url))
        assert run(["lock"]) == 0
        assert len(server.asked("/file-1.0.bin")) == 1
    finally:
        server.close()
    return tmp_path


def built(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Path]:
    capsys.readouterr()
    assert run(["build", "system.toml", *TARGETS, "--offline", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    return {name: Path(found[name]["out"]["path"]) for name in TARGETS}


def check(paths: dict[str, Path]) -> None:
    assert (paths["file-source"] / "gone-1.0.bin").read_bytes() == b"content"
    assert (paths["repository-source"] / "text").read_text() == "hello"


@pytest.mark.usefixtures("here")
def test_what_was_downloaded_to_be_pinned_is_kept_when_its_server_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    check(built(capsys))


@pytest.mark.usefixtures("here")
def test_a_bundle_is_all_that_another_store_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bundle", "system.toml", *TARGETS, "-o", "all.nexis"]) == 0
    assert "wrote all.nexis: 2 sources" in capsys.readouterr().out
    with pytest.raises(FetchError, match="2 of 2 sources for x86_64 could not be fetched"):
        run(["fetch", "system.toml", *TARGETS, "--offline", "--store", "other"])
    assert "is not in the store, and with --offline it cannot be fetched" in capsys.readouterr().err
    assert run(["fetch", "system.toml", *TARGETS, "--from", "all.nexis", "--offline", "--store", "other"]) == 0
    shown = capsys.readouterr()
    assert "took 2 of 2 missing sources out of all.nexis" in shown.err
    assert "'nexis-eval build --offline' can work" in shown.out
    check(built(capsys, "--store", "other"))


@pytest.mark.usefixtures("here")
def test_a_store_that_cannot_be_written_keeps_nobody_from_pinning(
    tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain").write_text("no store")
    site.page("/x-1.bin", b"x")
    Path("system.toml").write_text(f'[[packages]]\nname = "x"\nversion = "1"\nsource = "{site.url}/x-1.bin"\n')
    assert run(["lock", "--store", "plain"]) == 0
    assert "note: downloads are not kept: " in capsys.readouterr().err
