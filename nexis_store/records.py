"""The keys and values of the metadata tables. Pure.

One ordered key space; the first byte names the table. Values that people may want to read are JSON, those that are read
by the thousand are packed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nexis_store.digest import DIGEST_SIZE, BuildKey, DerivationId, TreeDigest
from nexis_store.errors import RECOVER, DamagedStoreError
from nexis_store.names import encode
from nexis_store.realisation import Realisation

ARTIFACT = b"a"
"""digest → name, size, number of entries, time of arrival."""
REFERENCES = b"f"
"""digest → the digests it refers to, end to end; absent when there are none."""
REFERRER = b"b"
"""digest, digest of a referrer → nothing."""
COUNT = b"c"
"""digest → number of referrers and roots; absent when it is zero."""
DEAD = b"z"
"""digest → since when its count has been zero, in nanoseconds: the list that makes collecting cost O(garbage)."""
DOOMED = b"t"
"""digest → name of an artifact whose metadata is gone and whose tree is on its way to the trash."""
PENDING = b"p"
"""digest → staging directory: in the journal only, until the artifact's renames are known to be on the disk."""
REALISATION = b"k"
"""build key → realisation."""
DERIVATION = b"i"
"""derivation id → build key of its last realisation."""
PRODUCED = b"o"
"""digest, build key → nothing: which realisations an artifact's end takes with it."""
DURATION = b"n"
"""name → nanoseconds the last build of that name took."""
LATEST = b"l"
"""name, NUL, platform → build key of the last realisation with that name."""
LARGE = b"v"
"""size → nothing: a large file of that size has been added. One of another size cannot be there already."""
ROOT = b"g"
"""root name → digest."""

SMALL = 1 << 20
"""Files of more bytes are large: noted in ``LARGE``, hashed while they are written."""

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """What the metadata knows about an artifact besides its references. Sizes in bytes, times in nanoseconds."""

    name: str
    size_bytes: int
    entries: int
    added_ns: int

    def encode(self) -> bytes:
        """As a value of the table."""
        fields = {"name": self.name, "size": self.size_bytes, "entries": self.entries, "added_ns": self.added_ns}
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes) -> ArtifactRecord:
        """From a value of the table; raises ``DamagedStoreError`` for anything else."""
        with _damage("an artifact"):
            fields = json.loads(value)
            return cls(_text(fields["name"]), *(_number(fields[name]) for name in ("size", "entries", "added_ns")))


@contextmanager
def _damage(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedStoreError(f"the record of {what} cannot be read: {error}", hint=RECOVER) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a number")
    return value


def pack_digests(digests: Iterable[bytes]) -> bytes:
    """Digests end to end, sorted, without repetition."""
    return b"".join(sorted(set(digests)))


def unpack_digests(value: bytes | None) -> tuple[TreeDigest, ...]:
    """The inverse; nothing for ``None``."""
    if not value:
        return ()
    return tuple(TreeDigest(value[at : at + DIGEST_SIZE]) for at in range(0, len(value), DIGEST_SIZE))


def pack_number(value: int) -> bytes:
    """An unsigned 64-bit number, ordered like its bytes."""
    return _U64.pack(value)


def unpack_number(value: bytes | None) -> int:
    """The inverse; 0 for ``None``."""
    return int(_U64.unpack(value)[0]) if value else 0


def latest_key(label: str, platform: str) -> bytes:
    """The key that tells the last build of a name for a platform."""
    return LATEST + encode(label) + b"\0" + encode(platform)


def encode_realisation(realisation: Realisation) -> bytes:
    """JSON with hexadecimal digests; fields that are empty are left out."""
    fields: dict[str, object] = {
        "derivation": realisation.derivation.hex(),
        "name": realisation.name,
        "outputs": {name: digest.hex() for name, digest in realisation.outputs.items()},
        "origin": realisation.origin,
    }
    optional = {
        "builder": realisation.builder,
        "started_ns": realisation.started_ns,
        "duration_ns": realisation.duration_ns,
        "max_rss_bytes": realisation.max_rss_bytes,
        "note": realisation.note,
        "extra": dict(realisation.extra),
    }
    fields.update((name, value) for name, value in optional.items() if value)
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_realisation(key: BuildKey, value: bytes) -> Realisation:
    """The inverse; the key is not in the value. Raises ``DamagedStoreError`` for anything else."""
    with _damage("a build"):
        fields = json.loads(value)
        return Realisation(
            key=key,
            derivation=DerivationId.parse(fields["derivation"]),
            name=_text(fields["name"]),
            outputs={name: TreeDigest.parse(text) for name, text in fields["outputs"].items()},
            origin=_text(fields["origin"]),
            builder=_text(fields.get("builder", "")),
            started_ns=_number(fields.get("started_ns", 0)),
            duration_ns=_number(fields.get("duration_ns", 0)),
            max_rss_bytes=_number(fields.get("max_rss_bytes", 0)),
            note=_text(fields.get("note", "")),
            extra={name: _text(text) for name, text in fields.get("extra", {}).items()},
        )
