from __future__ import annotations

import struct
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from nexis_store.digest import FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.tree import (
    DEFAULT,
    Attributes,
    Manifest,
    ManifestEntry,
    directory_entry,
    file_entry,
    symlink_entry,
)
from tests.strategies import manifests

GOLDEN = Manifest.of(
    [
        directory_entry("etc", Attributes(mode=0o750, group="wheel")),
        file_entry("etc/hosts", FileDigest.of(b"127.0.0.1 localhost\n"), 20),
        file_entry("etc/sudoers", FileDigest.of(b""), 0, attributes=Attributes(mode=0o440)),
        directory_entry("usr"),
        directory_entry("usr/bin"),
        file_entry(
            "usr/bin/ping",
            FileDigest.of(b"ping"),
            4,
            attributes=Attributes(mode=0o755, xattrs=(("security.capability", b"\x01\x00\x00\x02"),)),
        ),
        file_entry("usr/bin/su", FileDigest.of(b"su"), 2, attributes=Attributes(mode=0o4755)),
        symlink_entry("usr/bin/vi", "vim"),
        file_entry("usr/bin/\udcff", FileDigest.of(b"x"), 1, executable=True),
    ]
)


def test_golden_digest() -> None:
    """Changing the encoding by accident must fail here: every address in every store depends on it."""
    assert str(GOLDEN.digest) == "c8115e2a2e1563a4b849fc51966e1ad02cef52a36e909b159bb679bea8ad6a41"
    assert (
        str(FileDigest(blake3(GOLDEN.encode()).digest()))
        == "0ab22a2ed9a285991aec003a3d33aae77a4cd6308e92fd3ab32119c1d6c11bc0"
    )
    assert str(Manifest.of([]).digest) == "c2e48070702534d30cb4a036c0e549c136e51307e0f4d0efd32c61b8bd4b35a9"


def reference_digest(tree: dict[bytes, Any]) -> bytes:
    """The specification of ``docs/formats/tree.md``, slow and obvious."""
    out = b"nexis tree\x01" + struct.pack(">I", len(tree))
    for name in sorted(tree):
        node = tree[name]
        attributes = node["attributes"]
        letter = {"f": b"x" if node["executable"] else b"f", "d": b"d", "l": b"l"}[node["kind"]]
        out += letter + (b"\0" if attributes == Attributes() else b"\1") + struct.pack(">H", len(name)) + name
        if node["kind"] == "f":
            out += struct.pack(">Q", node["size"]) + node["digest"]
        elif node["kind"] == "d":
            out += reference_digest(node["children"])
        else:
            target = node["target"].encode("utf-8", "surrogateescape")
            out += struct.pack(">I", len(target)) + target
        if attributes != Attributes():
            out += struct.pack(">H", 0xFFFF if attributes.mode is None else attributes.mode)
            for text in (attributes.owner, attributes.group):
                out += struct.pack(">H", len(text.encode())) + text.encode()
            out += struct.pack(">H", len(attributes.xattrs))
            for key, value in sorted(attributes.xattrs):
                out += struct.pack(">H", len(key.encode())) + key.encode() + struct.pack(">I", len(value)) + value
    return blake3(out).digest()


def as_nested(manifest: Manifest) -> dict[bytes, Any]:
    root: dict[bytes, Any] = {}
    for entry in manifest.entries():
        *above, name = entry.path.encode("utf-8", "surrogateescape").split(b"/")
        place = root
        for part in above:
            place = place[part]["children"]
        place[name] = {**entry._asdict(), "children": {}}
    return root


@given(manifests())
def test_the_digest_is_that_of_the_specification(manifest: Manifest) -> None:
    assert manifest.digest == reference_digest(as_nested(manifest))


@given(manifests())
def test_reading_gives_what_was_written(manifest: Manifest) -> None:
    again = Manifest.decode(manifest.encode(), manifest.digest)
    assert list(again.entries()) == list(manifest.entries())
    assert again.encode() == manifest.encode()


@given(manifests(), manifests())
def test_different_trees_have_different_digests(one: Manifest, two: Manifest) -> None:
    assert (one.digest == two.digest) == (list(one.entries()) == list(two.entries()))


@settings(max_examples=300)
@given(manifests(), st.data())
def test_no_changed_byte_goes_unnoticed(manifest: Manifest, data: st.DataObject) -> None:
    raw = bytearray(manifest.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedStoreError):
        Manifest.decode(bytes(raw), manifest.digest)


@given(st.binary(max_size=200))
def test_garbage_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(DamagedStoreError):
        Manifest.decode(b"nexis manifest\x01" + raw)


def test_a_manifest_of_another_tree_is_refused() -> None:
    with pytest.raises(DamagedStoreError, match="where"):
        Manifest.decode(GOLDEN.encode(), TreeDigest(bytes(32)))


@pytest.mark.parametrize(
    "entries",
    [
        [file_entry("a/b", FileDigest.of(b""), 0)],
        [file_entry("a", FileDigest.of(b""), 0), file_entry("a/b", FileDigest.of(b""), 0)],
        [directory_entry("a"), directory_entry("a")],
    ],
)
def test_impossible_trees(entries: list[ManifestEntry]) -> None:
    with pytest.raises(ValueError, match="'a"):
        Manifest.of(entries)


def test_usual_modes_have_one_spelling() -> None:
    digest = FileDigest.of(b"")
    assert file_entry("a", digest, 0, attributes=Attributes(mode=0o644)) == file_entry("a", digest, 0)
    assert file_entry("a", digest, 0, attributes=Attributes(mode=0o755)) == file_entry("a", digest, 0, True)
    assert directory_entry("a", Attributes(mode=0o755)).attributes is DEFAULT
    with pytest.raises(ValueError, match="12 bits"):
        file_entry("a", digest, 0, attributes=Attributes(mode=0o100644))


def test_order_is_that_of_raw_names() -> None:
    names = ["a-b", "a/z", "a", "a.b", "B"]
    listing = Manifest.of([directory_entry(name) for name in names])
    assert [each.path for each in listing.entries()] == ["B", "a", "a/z", "a-b", "a.b"]
