"""What landing makes equal, row by row of ``docs/formats/landing.md``: two builds that differ in one thing only.

Each case says what differs between two machines, or between two runs, that the rule makes no difference of.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_store.store import Store

TOP = Path(__file__).resolve().parents[2]
PAGE = TOP / "docs/formats/landing.md"


def plain(root: Path) -> None:
    """What both builds install."""
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/share/doc").mkdir(parents=True)
    for name in ("usr/bin/tool", "usr/share/doc/one", "usr/share/doc/two"):
        (root / name).write_bytes(b"content" + bytes(100_000))
    (root / "usr/bin/tool").chmod(0o755)
    (root / "usr/bin/alias").symlink_to("tool")


def other_umask(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() or path.name == "tool" else 0o600)


def other_owner(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for path in root.rglob("*"):
        os.chown(path, 1234, 4321, follow_symlinks=False)


def other_attributes(root: Path) -> None:
    try:
        os.setxattr(root / "usr/bin/tool", "user.origin", b"here")
    except OSError:
        pytest.skip("this file system has no extended attributes")


def other_times(root: Path) -> None:
    for number, path in enumerate(root.rglob("*")):
        os.utime(path, (5 + number, 1_000_000_000 + number), follow_symlinks=False)


def hard_links(root: Path) -> None:
    (root / "usr/share/doc/two").unlink()
    (root / "usr/share/doc/two").hardlink_to(root / "usr/share/doc/one")


def holes(root: Path) -> None:
    with (root / "usr/share/doc/one").open("r+b") as file:
        file.truncate(7)
        file.truncate(7 + 100_000)


def shared_index(root: Path) -> None:
    (root / "usr/share/info").mkdir()
    (root / "usr/share/info/dir").write_text("whatever else was installed\n")


def empty_index(root: Path) -> None:
    (root / "usr/share/info").mkdir()


def unmerged(root: Path) -> None:
    (root / "usr/bin").rename(root / "bin")


def other_order(root: Path) -> None:
    """The same names, made in another order: listings come out otherwise on most file systems."""
    doc = root / "usr/share/doc"
    for name in ("two", "one"):
        data = (doc / name).read_bytes()
        (doc / name).unlink()
        for number in range(50):
            (doc / f"{number}").touch()
        (doc / name).write_bytes(data)
    for number in range(50):
        (doc / f"{number}").unlink()


Change = Callable[[Path], None]
CASES: dict[str, tuple[Change, Change]] = {
    "umask": (plain, other_umask),
    "owner": (plain, other_owner),
    "xattrs": (plain, other_attributes),
    "times": (plain, other_times),
    "hard-links": (plain, hard_links),
    "holes": (plain, holes),
    "info-dir": (empty_index, shared_index),
    "usrmerge": (plain, unmerged),
    "order": (plain, other_order),
}


def build(root: Path, change: Change) -> Path:
    root.mkdir()
    plain(root)
    if change is not plain:
        change(root)
    return root


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_made_equal(store: Store, tmp_path: Path, case: str, move: bool) -> None:
    first, second = (build(tmp_path / name, change) for name, change in zip("ab", CASES[case], strict=True))
    # What has special attributes comes first: its files become those of the store.
    two, one = (store.add_directory(each, "package", move=move) for each in (second, first))
    assert one.digest == two.digest
    times = {os.lstat(path).st_mtime_ns for path in Path(one.path).rglob("*")}
    assert times == {1_000_000_000}


@pytest.mark.parametrize("case", ["info-dir", "usrmerge"])
def test_images_are_taken_as_they_are(store: Store, tmp_path: Path, case: str) -> None:
    """Without normalising these two stay different; the rest never reaches an artifact at all."""
    first, second = (build(tmp_path / name, change) for name, change in zip("ab", CASES[case], strict=True))
    one, two = (store.add_directory(each, "image", normalise=False) for each in (first, second))
    assert one.digest != two.digest


def test_content_is_never_rewritten(store: Store, tmp_path: Path) -> None:
    """What differs inside a file stays: it is found, not hidden."""
    first, second = build(tmp_path / "a", plain), build(tmp_path / "b", plain)
    (second / "usr/share/doc/one").write_bytes(b"Content" + bytes(100_000))
    one, two = (store.add_directory(each, "package") for each in (first, second))
    assert one.digest != two.digest


def test_every_row_of_the_list_names_its_test() -> None:
    table = PAGE.read_text().partition("## Archives")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("| ")][1:]
    tests = "".join(path.read_text() for path in (TOP / "tests/store").glob("test_*.py"))
    assert len(rows) >= 13
    shown = set()
    for row in rows:
        assert len(row) == 3, row
        names = re.findall(r"`(\w[\w-]*)`", row[2])
        assert names, f"no test shows why: {row[0]}"
        for name in names:
            assert name in CASES or f"def {name}(" in tests, name
        shown |= set(names)
    assert set(CASES) <= shown
