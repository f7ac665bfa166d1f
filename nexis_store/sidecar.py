"""The file beside each artifact: its name, its references and its manifest (``docs/formats/tree.md``). Pure.

It is written before the artifact appears, so that the metadata can always be rebuilt from what is on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from nexis_store.digest import TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.tree import Manifest

_MAGIC = b"nexis artifact 1 "
_CHECK = 32


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What an artifact says about itself."""

    name: str
    references: tuple[TreeDigest, ...]
    manifest: Manifest
    added_ns: int = 0


def encode_sidecar(name: str, references: Iterable[TreeDigest], manifest: Manifest, added_ns: int) -> bytes:
    """One line with a checksum of the rest, one of JSON, then the manifest."""
    header = {"name": name, "references": sorted({each.hex() for each in references}), "added_ns": added_ns}
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    return _MAGIC + blake3(line).hexdigest()[:_CHECK].encode() + b"\n" + line + manifest.encode()


def decode_sidecar(data: bytes, digest: TreeDigest) -> Sidecar:
    """Read and prove a sidecar; raises ``DamagedStoreError``."""
    head = len(_MAGIC) + _CHECK + 1
    end = data.find(b"\n", head) + 1
    line = data[head:end]
    check = blake3(line).hexdigest()[:_CHECK].encode()
    if not end or data[:head] != _MAGIC + check + b"\n":
        raise DamagedStoreError(f"the description of {digest} is damaged", hint="run 'nexis-store verify'")
    header = json.loads(line)
    references = tuple(TreeDigest.parse(each) for each in header["references"])
    return Sidecar(header["name"], references, Manifest.decode(data[end:], digest), header["added_ns"])
