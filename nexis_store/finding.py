"""Which artifact somebody means who writes a digest, the beginning of one, a root, a name, or a path in the store."""

from __future__ import annotations

import contextlib
import os

from nexis_store import roots
from nexis_store.database import Database
from nexis_store.digest import TreeDigest
from nexis_store.errors import NotInStoreError
from nexis_store.layout import Layout
from nexis_store.records import ARTIFACT, ArtifactRecord

_LIST = "'nexis-store ls' lists what it has"


def find(layout: Layout, database: Database, text: str) -> TreeDigest:
    """The artifact that ``text`` means. Raises ``NotInStoreError`` when there is none or more than one."""
    base = os.path.basename(os.path.normpath(text))
    for candidate in (text, base[:64]):
        with contextlib.suppress(ValueError):
            digest = TreeDigest.parse(candidate)
            if database.get(ARTIFACT + digest) is None:
                raise NotInStoreError(f"the store has no {digest}", hint=_LIST)
            return digest
    digest_of_root = roots.named(layout, database).get(text)
    if digest_of_root is not None and database.get(ARTIFACT + digest_of_root) is not None:
        return digest_of_root
    if 4 <= len(text) < 64:
        with contextlib.suppress(ValueError):
            whole = bytes.fromhex(text[: len(text) & ~1])
            found = [TreeDigest(key[1:]) for key, _ in database.scan(ARTIFACT + whole)]
            found = [each for each in found if each.hex().startswith(text)]
            if len(found) == 1:
                return found[0]
    found = [TreeDigest(key[1:]) for key, value in database.scan(ARTIFACT) if ArtifactRecord.decode(value).name == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotInStoreError(
            f"{len(found)} artifacts are called {text}",
            hint="name one by digest: " + ", ".join(digest.hex()[:12] for digest in found[:5]),
        )
    raise NotInStoreError(f"the store has no {text!r}", hint=_LIST)
