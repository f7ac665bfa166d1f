"""Names from outside become names of files in one directory, or are refused where they are born."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.load import load
from nexis_eval.graph.derivation import CommitNameError, Fetch, FetchGit, FileNameError
from nexis_eval.lock.model import LockError, LockFormatError, parse_deb, parse_lock
from nexis_eval.lock.upstream import Release
from nexis_eval.packages.pins import fetch_of
from nexis_eval.templates import file_name
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError

LEADING_ELSEWHERE = (
    "..%2F..%2F..%2Ftmp%2Fvictim",
    "%2Ftmp%2Fvictim",
    "a%2fb",
    "%2e%2e%2fx",
    "a%00b",
    "a%0Ab",
    "a%1Bb",
    "a%7Fb",
    "x" * 300,
    "%C3%A4" * 130,
    "%FF%FE" * 130,
    "a%C2%85b",
)


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
@pytest.mark.parametrize("scheme", ["http", "https", "mirror", "file"])
def test_a_file_name_that_leads_elsewhere_is_refused_at_its_line(tmp_path: Path, name: str, scheme: str) -> None:
    file = tmp_path / "system.toml"
    file.write_text(f'[[packages]]\nname = "x"\nversion = "1"\nsource = [\n  "{scheme}://host.example/{name}",\n]\n')
    with pytest.raises(NexisError) as error:
        load(file, arch="x86_64")
    [one] = error.value.errors if hasattr(error.value, "errors") else [error.value]
    assert one.code == "C0313"
    assert (one.place.line, one.place.column) == (5, 3)


@pytest.mark.parametrize("name", ["..%2Fx", "a%00b", "%2Fx", "x" * 300])
def test_the_same_in_a_lock(name: str) -> None:
    text = f'format = 1\n[[source]]\npackage = "x"\nfield = "source"\nhash = "sha256:{"0" * 64}"\n'
    with pytest.raises(LockFormatError, match="name of the file"):
        parse_lock(f'{text}urls = ["https://host.example/{name}"]\n')
    assert parse_lock(f'{text}urls = ["https://host.example/x.tar.gz"]\n').sources


@pytest.mark.parametrize("version", ["1/2", "../x", "1\\n2", "-1", "1;id", "1 2", "1$(id)", "x" * 200])
def test_a_version_in_a_lock_is_a_version(version: str) -> None:
    text = 'format = 1\n[[source]]\npackage = "x"\nfield = "source"\nurls = ["https://host.example/x"]\n'
    with pytest.raises(LockFormatError, match="is not a version"):
        parse_lock(f'{text}version = "{version}"\n')


@pytest.mark.parametrize(
    "line",
    [
        "../x 1 amd64 1 {0} mirror://debian/x.deb",
        "a/b 1 amd64 1 {0} mirror://debian/x.deb",
        "x 1/2 amd64 1 {0} mirror://debian/x.deb",
        "x 1 ../y 1 {0} mirror://debian/x.deb",
        "x 1 amd64 1 {1} mirror://debian/x.deb",
        "x 1 amd64 1 {0} mirror://debian/..%2fx.deb",
        "x 1 amd64 1 {0} nothing/",
    ],
)
def test_debian_packages_of_a_lock(line: str) -> None:
    with pytest.raises(ValueError, match=r"is not (a URL|NAME VERSION)|not a Debian package|name of the file"):
        parse_deb(line.format("0" * 64, "../" * 21 + "x"))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/a", "../a", "a\0b", "a\nb", "a\x1bb", "x" * 256, "ä" * 128, "\udcff"]
)
def test_no_download_has_another_name(name: str) -> None:
    with pytest.raises(FileNameError, match="cannot be called"):
        Fetch(("https://host.example/x",), "sha256", "0" * 64, name)


@pytest.mark.parametrize("name", ["x.tar.gz", "x" * 255, "größe.txt", "a b", ".hidden", "-x", "x%20y", "v1@2+3~4"])
def test_names_of_files(name: str) -> None:
    assert Fetch(("https://host.example/x",), "sha256", "0" * 64, name).filename == name


@pytest.mark.parametrize("commit", ["", "main", "0" * 39, "A" * 40, "0" * 40 + "\n", "0" * 41, "../" + "0" * 37])
def test_commits_are_full_names(commit: str) -> None:
    with pytest.raises(CommitNameError):
        FetchGit(("https://host.example/x.git",), commit, TreeDigest(b"0" * 32))


@pytest.mark.parametrize(
    ("version", "tag"),
    [("1/2", ""), ("1;id", ""), ("$(id)", "$(id)"), ("1", "v1\n"), ("1", "a b"), ("..", "")],
)
def test_what_upstream_calls_a_version(version: str, tag: str) -> None:
    with pytest.raises(LockError, match="latest version"):
        Release(version, tag)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host.example/a/x-1.tar.gz?y=z#f", "x-1.tar.gz"),
        ("https://host.example/a/x%2B1.tar.gz", "x+1.tar.gz"),
        ("https://host.example/", "download"),
        ("https://host.example/a/..", "download"),
        ("https://host.example", "download"),
    ],
)
def test_the_name_is_the_last_part(url: str, name: str) -> None:
    assert file_name(url) == name


def test_the_fetch_of_a_lock_is_checked_by_itself() -> None:
    text = f'format = 1\n[[source]]\npackage = "x"\nfield = "source"\nhash = "sha256:{"0" * 64}"\n'
    [source] = parse_lock(f'{text}urls = ["https://host.example/x"]\n').sources.values()
    assert isinstance(fetch_of(source), Fetch)


@pytest.mark.parametrize(
    "url",
    ["http://[::1/x", "http://host:port/x", "http://host:99999/x", "git+https://host/%00x", "https://host/a\\u001bb"],
)
def test_what_is_no_url(tmp_path: Path, url: str) -> None:
    file = tmp_path / "system.toml"
    file.write_text(f'[[packages]]\nname = "x"\nversion = "1"\nsource = "{url}"\n')
    with pytest.raises(NexisError) as error:
        load(file, arch="x86_64")
    assert "C0313" in str([each.code for each in getattr(error.value, "errors", [error.value])])
