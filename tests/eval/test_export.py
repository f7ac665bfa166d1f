"""Copies of what the store has: complete, private where they hold secrets, and written only where something differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nexis_eval.export import CHUNK_BYTES, export_tree
from nexis_eval.image.secrets import FILE, MARK, SIZE_BYTES, Filling, SecretsSizeError, filling
from nexis_eval.secrets import Secret
from nexis_eval.system.templates import text
from nexis_store.digest import TreeDigest
from nexis_store.store import Store

PLACE = MARK.encode().ljust(SIZE_BYTES, b"\n")
IMAGE = b"x" * 1001 + PLACE + b"y" * 77
"""An image with a place for secrets, and (below) one with two, of which one lies across what is read at a time."""
DISK = b"a" * (CHUNK_BYTES - 500) + PLACE + b"b" * (2 * CHUNK_BYTES) + PLACE


def passwords(hashed: str) -> Filling:
    made = filling({"root": Secret(hashed), "ada": Secret("$6$ada")})
    assert made is not None
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


@pytest.fixture
def tree(store: Store) -> TreeDigest:
    with store.writer("images") as writer:
        writer.file("image", IMAGE)
        writer.file("disk", DISK)
        writer.file("like-it", PLACE[:-1] + b"x")
        writer.file("run", b"#!/bin/sh\n", executable=True)
        writer.file("empty", b"")
        return writer.commit().digest


def test_secrets_come_into_every_place_of_the_copies(tmp_path: Path, store: Store, tree: TreeDigest) -> None:
    out, secrets = tmp_path / "out", passwords("$6$root")
    assert len(export_tree(store, tree, out, secrets)) == 5
    assert secrets.content.startswith(b"password ada $6$ada\npassword root $6$root\n\n")
    assert (out / "image").read_bytes() == IMAGE.replace(PLACE, secrets.content)
    assert (out / "disk").read_bytes() == DISK.replace(PLACE, secrets.content)
    assert (out / "like-it").read_bytes() == PLACE[:-1] + b"x"
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert modes == {"image": 0o600, "disk": 0o600, "like-it": 0o600, "empty": 0o600, "run": 0o700}
    assert (store.path(tree) / "image").read_bytes() == IMAGE


def test_only_what_another_secret_changes_is_written(tmp_path: Path, store: Store, tree: TreeDigest) -> None:
    out = tmp_path / "out"
    export_tree(store, tree, out, passwords("$6$root"))
    assert export_tree(store, tree, out, passwords("$6$root")) == []
    assert {path.name for path in export_tree(store, tree, out, passwords("$6$other"))} == {"image", "disk"}
    # What somebody opened to others is closed, and what lost its secrets is what the store has.
    (out / "image").chmod(0o644)
    assert export_tree(store, tree, out, passwords("$6$other")) == []
    assert (out / "image").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in export_tree(store, tree, out)} == {"image", "disk"}
    assert (out / "image").read_bytes() == IMAGE
    assert (out / "image").stat().st_mode & 0o777 == 0o644


def test_a_killed_copy_leaves_nothing_that_others_can_read(tmp_path: Path, store: Store, tree: TreeDigest) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".image.new").write_bytes(b"half")
    (out / ".image.new").chmod(0o666)
    with (out / ".image.new").open("rb") as reader:
        export_tree(store, tree, out, passwords("$6$root"))
        assert reader.read() == b"half"
    assert not (out / ".image.new").exists()


def test_without_passwords_images_stay_as_they_are() -> None:
    assert filling({}) is None


def test_more_passwords_than_an_image_has_room_for_are_refused() -> None:
    with pytest.raises(SecretsSizeError, match="700 passwords"):
        filling({f"user{number}": Secret("$6$" + "x" * 100) for number in range(700)})


def test_the_initramfs_reads_the_file_that_it_has() -> None:
    assert f"/{FILE} " in text("initramfs-init")
