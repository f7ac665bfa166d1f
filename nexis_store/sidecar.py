"""The file beside each artifact: its name, its references and its manifest (``docs/formats/tree.md``). Pure.

It is written before the artifact appears, so that the metadata can always be rebuilt from what is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from nexis_store.digest import TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.tree import Manifest

_KIND = b"nexis artifact "
_MAGIC = _KIND + b"1 "
_CHECK = 32


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What an artifact says about itself."""

    name: str
    references: tuple[TreeDigest, ...]
    manifest: Manifest
    added_ns: int = 0


def encode_sidecar(name: str, references: Iterable[TreeDigest], manifest: Manifest, added_ns: int) -> bytes:
    """One line with a checksum of the next, one of JSON, then the manifest."""
    return _join({"name": name, "references": _listed(references), "added_ns": added_ns}, manifest.encode())


def with_references(data: bytes, digest: TreeDigest, references: Iterable[TreeDigest]) -> bytes:
    """A sidecar with other references and all else as it was; raises ``DamagedStoreError``."""
    header, manifest = _split(data, digest)
    return _join({**header, "references": _listed(references)}, manifest)


def _listed(references: Iterable[TreeDigest]) -> list[str]:
    return sorted({each.hex() for each in references})


def _join(header: dict[str, Any], manifest: bytes) -> bytes:
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    return _MAGIC + blake3(line).hexdigest()[:_CHECK].encode() + b"\n" + line + manifest


def _split(data: bytes, digest: TreeDigest) -> tuple[dict[str, Any], bytes]:
    """The proved header, and the bytes of the manifest as they are."""
    line, manifest = _lines(data, digest)
    try:
        header: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(
            f"the description of {digest} is damaged: {error}", hint="run 'nexis-store verify'"
        ) from None
    return header, manifest


def decode_manifest(data: bytes, digest: TreeDigest) -> Manifest:
    """The manifest of a sidecar, all of which is proved but not all of which is read."""
    return Manifest.decode(_lines(data, digest)[1], digest)


def describes(data: bytes, digest: TreeDigest, manifest: Manifest) -> bool:
    """Whether a sidecar is undamaged and lists what ``manifest`` does."""
    try:
        return _lines(data, digest)[1] == manifest.encode()
    except DamagedStoreError:
        return False


def _lines(data: bytes, digest: TreeDigest) -> tuple[bytes, bytes]:
    head = len(_MAGIC) + _CHECK + 1
    end = data.find(b"\n", head) + 1
    line = data[head:end]
    check = blake3(line).hexdigest()[:_CHECK].encode()
    if not end or data[:head] != _MAGIC + check + b"\n":
        version, _, _ = data[len(_KIND) : head].partition(b" ")
        if data.startswith(_KIND) and not data.startswith(_MAGIC) and version.isdigit():
            raise DamagedStoreError(
                f"another version of this program wrote the description of {digest} (version {int(version)})",
                hint="use that version; 'nexis-store verify --repair' writes the description anew for this one",
            )
        raise DamagedStoreError(f"the description of {digest} is damaged", hint="run 'nexis-store verify'")
    return line, data[end:]


def decode_sidecar(data: bytes, digest: TreeDigest) -> Sidecar:
    """Read and prove a sidecar; raises ``DamagedStoreError``."""
    header, manifest = _split(data, digest)
    try:
        references = tuple(TreeDigest.parse(each) for each in header["references"])
        name, added_ns = str(header["name"]), int(header["added_ns"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedStoreError(
            f"the description of {digest} is not one that this program can read: {error}",
            hint="run 'nexis-store verify'",
        ) from None
    return Sidecar(name, references, Manifest.decode(manifest, digest), added_ns)
