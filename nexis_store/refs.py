"""Reference counts and the dead list, changed only inside a transaction. Upholds: counts equal referrers plus roots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nexis_store.database import Transaction
from nexis_store.digest import DIGEST_SIZE, TreeDigest
from nexis_store.records import (
    COUNT,
    DEAD,
    REFERENCES,
    REFERRER,
    pack_digests,
    pack_number,
    unpack_digests,
    unpack_number,
)


class Reader(Protocol):
    """Anything that can look up a key."""

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``."""
        ...


def references(reader: Reader, digest: TreeDigest) -> tuple[TreeDigest, ...]:
    """What an artifact refers to."""
    return unpack_digests(reader.get(REFERENCES + digest))


def count(reader: Reader, digest: TreeDigest) -> int:
    """How many artifacts and roots refer to it."""
    return unpack_number(reader.get(COUNT + digest))


def retain(transaction: Transaction, digest: TreeDigest) -> None:
    """One more artifact or root refers to ``digest``: it is not dead."""
    transaction.put(COUNT + digest, pack_number(count(transaction, digest) + 1))
    transaction.delete(DEAD + digest)


def release(transaction: Transaction, digest: TreeDigest, now_ns: int) -> bool:
    """One artifact or root less refers to ``digest``; when it was the last, it is dead. Says whether it is."""
    left = count(transaction, digest) - 1
    if left > 0:
        transaction.put(COUNT + digest, pack_number(left))
        return False
    transaction.delete(COUNT + digest)
    transaction.put(DEAD + digest, pack_number(now_ns))
    return True


def add_references(
    transaction: Transaction, digest: TreeDigest, wanted: Iterable[TreeDigest]
) -> tuple[TreeDigest, ...]:
    """Let ``digest`` refer to ``wanted`` too; returns all it refers to. A tree never refers to itself."""
    present = references(transaction, digest)
    new = [each for each in dict.fromkeys(wanted) if each not in present and each != digest]
    if not new:
        return present
    for each in new:
        transaction.put(REFERRER + each + digest, b"")
        retain(transaction, each)
    packed = pack_digests((*present, *new))
    transaction.put(REFERENCES + digest, packed)
    return unpack_digests(packed)


def closure(reader: Reader, start: Iterable[TreeDigest]) -> list[TreeDigest]:
    """``start`` and everything reachable from it by references, each once, nearest first."""
    found: list[bytes] = list(dict.fromkeys(start))
    seen: set[bytes] = set(found)
    get = reader.get
    for digest in found:
        value = get(REFERENCES + digest)
        if value is None:
            continue
        for at in range(0, len(value), DIGEST_SIZE):
            each = value[at : at + DIGEST_SIZE]
            if each not in seen:
                seen.add(each)
                found.append(each)
    return [TreeDigest(each) for each in found]
