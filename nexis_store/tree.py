"""Trees as values: entries, the manifest that lists them, and the Merkle hash over it (``docs/formats/tree.md``). Pure.

The manifest is the concatenation of the very directory encodings that are hashed, so reading it proves it, and two
trees can be compared by skipping every directory whose digest is equal.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from blake3 import blake3

from nexis_store.digest import DIGEST_SIZE, FileDigest, TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.names import MAX_COMPONENT, decode, encode

DIRECTORY_DOMAIN = b"nexis tree\x01"
MANIFEST_DOMAIN = b"nexis manifest\x01"
NO_MODE = 0xFFFF

Kind = Literal["f", "d", "l"]

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_FILE = struct.Struct(">Q32s")
_ENTRY = struct.Struct(">BBH")
_FILE_LETTER, _PROGRAM_LETTER, _DIRECTORY_LETTER, _LINK_LETTER = b"fxdl"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a tree says about an entry beyond content: nothing of it is ever live in the store.

    ``mode`` is the 12 permission bits, or ``None`` for the usual ones (0755 for directories and executable files, 0644
    for other files). ``owner`` and ``group`` are names, or decimal numbers where the origin had no name.
    """

    mode: int | None = None
    owner: str = "root"
    group: str = "root"
    xattrs: tuple[tuple[str, bytes], ...] = ()


DEFAULT = Attributes()


class ManifestEntry(NamedTuple):
    """One path of a tree. A tuple, because trees have tens of thousands of them."""

    path: str
    kind: Kind
    digest: FileDigest | None
    size: int
    executable: bool
    target: str | None
    attributes: Attributes

    @property
    def mode(self) -> int:
        """The permission bits the path has in a system: those declared, or the usual ones."""
        if self.attributes.mode is not None:
            return self.attributes.mode
        return 0o777 if self.kind == "l" else 0o755 if self.kind == "d" or self.executable else 0o644

    def same_content(self, other: ManifestEntry) -> bool:
        """Whether both entries are equal in everything but the path."""
        return self[1:] == other[1:]


def canonical_attributes(kind: Kind, executable: bool, attributes: Attributes) -> Attributes:
    """The one spelling of equal attributes: the usual mode is ``None``, xattrs are sorted.

    Raises ``ValueError`` for a mode beyond 12 bits, a mode on a symlink, or two xattrs of one name.
    """
    if attributes is DEFAULT or attributes == DEFAULT:
        return DEFAULT
    mode = attributes.mode
    if mode is not None:
        if not 0 <= mode <= 0o7777:
            raise ValueError(f"a mode has 12 bits, not {mode:#o}")
        if kind == "l" or mode == (0o755 if kind == "d" or executable else 0o644):
            mode = None
    xattrs = tuple(sorted(attributes.xattrs))
    if len({name for name, _ in xattrs}) != len(xattrs):
        raise ValueError("an extended attribute is given twice")
    canonical = Attributes(mode, attributes.owner, attributes.group, xattrs)
    return DEFAULT if canonical == DEFAULT else canonical


def file_entry(
    path: str, digest: FileDigest, size: int, executable: bool = False, attributes: Attributes = DEFAULT
) -> ManifestEntry:
    """A regular file. A declared mode decides whether it is executable."""
    if attributes is DEFAULT:
        return ManifestEntry(path, "f", digest, size, executable, None, DEFAULT)
    if attributes.mode is not None:
        executable = bool(attributes.mode & 0o111)
    return ManifestEntry(path, "f", digest, size, executable, None, canonical_attributes("f", executable, attributes))


def directory_entry(path: str, attributes: Attributes = DEFAULT) -> ManifestEntry:
    """A directory."""
    return ManifestEntry(path, "d", None, 0, False, None, canonical_attributes("d", False, attributes))


def symlink_entry(path: str, target: str, attributes: Attributes = DEFAULT) -> ManifestEntry:
    """A symbolic link; its size is that of the target in bytes. Links have no mode of their own."""
    size = len(encode(target))
    return ManifestEntry(path, "l", None, size, False, target, canonical_attributes("l", False, attributes))


def _text(raw: bytes) -> bytes:
    return _U16.pack(len(raw)) + raw


def _encode_attributes(attributes: Attributes) -> bytes:
    parts = [
        _U16.pack(NO_MODE if attributes.mode is None else attributes.mode),
        _text(encode(attributes.owner)),
        _text(encode(attributes.group)),
        _U16.pack(len(attributes.xattrs)),
    ]
    for name, value in attributes.xattrs:
        parts.append(_text(encode(name)) + _U32.pack(len(value)) + value)
    return b"".join(parts)


def _encode_directory(children: list[ManifestEntry], digests: Mapping[str, bytes]) -> bytes:
    parts = [DIRECTORY_DOMAIN, _U32.pack(len(children))]
    for entry in children:
        path, kind, digest, size, executable, target, attributes = entry
        name = encode(path[path.rfind("/") + 1 :])
        letter = ord("x") if executable else ord(kind)
        plain = attributes is DEFAULT
        parts.append(_ENTRY.pack(letter, 0 if plain else 1, len(name)))
        parts.append(name)
        if kind == "f":
            assert digest is not None
            parts.append(_FILE.pack(size, digest))
        elif kind == "d":
            parts.append(digests[path])
        else:
            raw = encode(target or "")
            parts.append(_U32.pack(len(raw)) + raw)
        if not plain:
            parts.append(_encode_attributes(attributes))
    return b"".join(parts)


def sort_key(path: str) -> bytes:
    """Sorts paths in pre-order, siblings by the raw bytes of their names."""
    return encode(path).replace(b"/", b"\0")


class Manifest:
    """An immutable listing of one tree. Equal trees have equal digests, and the other way round."""

    __slots__ = ("_encoded", "_entries", "_index", "digest")

    def __init__(self, entries: tuple[ManifestEntry, ...], digest: TreeDigest, encoded: bytes) -> None:
        self._entries = entries
        self._encoded = encoded
        self._index: dict[str, ManifestEntry] | None = None
        self.digest = digest

    @classmethod
    def of(cls, entries: Iterable[ManifestEntry]) -> Manifest:
        """Sort and hash ``entries``; every parent directory must be among them. Raises ``ValueError`` if one is not."""
        ordered = sorted(entries, key=lambda entry: sort_key(entry.path))
        children: dict[str, list[ManifestEntry]] = {"": []}
        previous = ""
        for position, entry in enumerate(ordered):
            path, attributes = entry.path, entry.attributes
            if path == previous:
                raise ValueError(f"{path!r} is listed twice or empty")
            if attributes is not DEFAULT:
                attributes = canonical_attributes(entry.kind, entry.executable, attributes)
                entry = ordered[position] = entry._replace(attributes=attributes)
            cut = path.rfind("/")
            siblings = children.get(path[:cut] if cut > 0 else "")
            if siblings is None:
                raise ValueError(f"the parent of {path!r} is missing or no directory")
            siblings.append(entry)
            if entry.kind == "d":
                children[path] = []
            previous = path
        digests: dict[str, bytes] = {}
        blobs: list[bytes] = []
        for path in reversed(children):
            blob = _encode_directory(children[path], digests)
            digests[path] = blake3(blob).digest()
            blobs.append(_U32.pack(len(blob)) + blob)
        blobs.append(MANIFEST_DOMAIN + _U32.pack(len(blobs)))
        blobs.reverse()
        return cls(tuple(ordered), TreeDigest(digests[""]), b"".join(blobs))

    @classmethod
    def decode(cls, data: bytes, expected: TreeDigest | None = None) -> Manifest:
        """Read a manifest and prove it: every directory must hash to what its parent says.

        Raises ``DamagedStoreError`` for anything but the one canonical encoding of the tree ``expected``.
        """
        try:
            entries, root = _Decoder(data).decode()
        except (ValueError, IndexError, struct.error, RecursionError) as error:
            raise DamagedStoreError(f"not a manifest: {error}", hint="run 'nexis-store verify'") from None
        if expected is not None and root != expected:
            raise DamagedStoreError(
                f"a manifest describes {root} where {expected} belongs", hint="run 'nexis-store verify'"
            )
        return cls(tuple(entries), root, data)

    def encode(self) -> bytes:
        """The canonical bytes."""
        return self._encoded

    def entries(self) -> Iterator[ManifestEntry]:
        """All entries in pre-order; the root itself is not among them."""
        return iter(self._entries)

    def get(self, path: str) -> ManifestEntry | None:
        """The entry of one path, or ``None``."""
        if self._index is None:
            self._index = {entry.path: entry for entry in self._entries}
        return self._index.get(path)

    def directories(self) -> dict[str, TreeDigest]:
        """The digest of every directory by its path; that of the root has the path ``""``."""
        found: dict[str, TreeDigest] = {"": self.digest}
        names = (entry.path for entry in self._entries if entry.kind == "d")
        position = len(MANIFEST_DOMAIN) + _U32.size
        for path in ("", *names):
            (length,) = _U32.unpack_from(self._encoded, position)
            position += _U32.size
            found[path] = TreeDigest(blake3(self._encoded[position : position + length]).digest())
            position += length
        return found

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def size_bytes(self) -> int:
        """The sum of the files' sizes in bytes."""
        return sum(entry.size for entry in self._entries if entry.kind == "f")


def skim(data: bytes) -> list[tuple[str, bytes | None, bool]]:
    """(path, file digest or ``None``, executable) of all entries of an encoded manifest, directories ending in ``/``.

    Several times as fast as decoding it, because nothing is proved but that no path leads out of the tree. Raises
    ``ValueError``, ``IndexError`` or ``struct.error`` for what cannot be read.
    """
    position = data.index(MANIFEST_DOMAIN) + len(MANIFEST_DOMAIN) + _U32.size
    found: list[tuple[str, bytes | None, bool]] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        position += _U32.size + len(DIRECTORY_DOMAIN)
        (count,) = _U32.unpack_from(data, position)
        position += _U32.size
        below: list[str] = []
        for _ in range(count):
            letter, flags, length = _ENTRY.unpack_from(data, position)
            position += _ENTRY.size
            name = data[position : position + length]
            position += length
            if b"/" in name or name in (b"", b".", b".."):
                raise ValueError(f"it has the name {name!r}")
            path = prefix + decode(name)
            if letter in (_FILE_LETTER, _PROGRAM_LETTER):
                found.append((path, data[position + 8 : position + _FILE.size], letter == _PROGRAM_LETTER))
                position += _FILE.size
            elif letter == _DIRECTORY_LETTER:
                path += "/"
                found.append((path, None, False))
                below.append(path)
                position += DIGEST_SIZE
            else:
                found.append((path, None, False))
                position += _U32.size + _U32.unpack_from(data, position)[0]
            if flags:
                _, position = _decode_attributes(data, position)
        pending.extend(reversed(below))
    return found


class _Decoder:
    """Reads the directories one after another, each right behind the entry that names it.

    Accepts nothing but what the encoder writes, so bytes and tree correspond one to one.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._left = 0
        self._entries: list[ManifestEntry] = []

    def decode(self) -> tuple[list[ManifestEntry], TreeDigest]:
        """All entries in pre-order, and the digest of the tree."""
        head = len(MANIFEST_DOMAIN)
        if self._data[:head] != MANIFEST_DOMAIN:
            raise ValueError("it does not start like one")
        (self._left,) = _U32.unpack_from(self._data, head)
        self._position = head + 4
        blob = self._next()
        self._directory(blob, "")
        if self._left or self._position != len(self._data):
            raise ValueError("it has missing or surplus bytes")
        return self._entries, TreeDigest(blake3(blob).digest())

    def _next(self) -> bytes:
        (length,) = _U32.unpack_from(self._data, self._position)
        start = self._position + 4
        self._position = start + length
        self._left -= 1
        if self._position > len(self._data) or self._left < 0:
            raise ValueError("it is cut short")
        return self._data[start : self._position]

    def _directory(self, blob: bytes, prefix: str) -> None:
        head = len(DIRECTORY_DOMAIN)
        if blob[:head] != DIRECTORY_DOMAIN:
            raise ValueError("it holds something that is no directory")
        (count,) = _U32.unpack_from(blob, head)
        position = head + 4
        entries = self._entries
        previous = b""
        for _ in range(count):
            letter, flags, length = _ENTRY.unpack_from(blob, position)
            position += 4
            raw_name = blob[position : position + length]
            position += length
            if raw_name <= previous or length > MAX_COMPONENT or b"/" in raw_name or b"\0" in raw_name:
                raise ValueError(f"it has the name {raw_name!r} after {previous!r}")
            if raw_name in (b".", b".."):
                raise ValueError(f"it has the name {raw_name!r}")
            previous = raw_name
            path = prefix + decode(raw_name)
            digest: FileDigest | None = None
            target: str | None = None
            below: bytes | None = None
            size = 0
            kind: Kind
            if letter in (_FILE_LETTER, _PROGRAM_LETTER):
                kind = "f"
                size, raw = _FILE.unpack_from(blob, position)
                digest = FileDigest(raw)
                position += _FILE.size
            elif letter == _DIRECTORY_LETTER:
                kind = "d"
                below = blob[position : position + DIGEST_SIZE]
                position += DIGEST_SIZE
            elif letter == _LINK_LETTER:
                kind = "l"
                (size,) = _U32.unpack_from(blob, position)
                target = decode(blob[position + 4 : position + 4 + size])
                position += 4 + size
            else:
                raise ValueError(f"it has an entry of kind {letter}")
            executable = letter == _PROGRAM_LETTER
            attributes = DEFAULT
            if flags:
                attributes, position = _decode_attributes(blob, position)
                canonical = canonical_attributes(kind, executable, attributes)
                if flags != 1 or canonical is DEFAULT or canonical != attributes:
                    raise ValueError(f"the attributes of {path!r} are not canonical")
                if kind == "f" and attributes.mode is not None and bool(attributes.mode & 0o111) != executable:
                    raise ValueError(f"the attributes of {path!r} contradict its kind")
            entries.append(ManifestEntry(path, kind, digest, size, executable, target, attributes))
            if below is not None:
                inner = self._next()
                if blake3(inner).digest() != below:
                    raise ValueError(f"the directory {path!r} does not match its digest")
                self._directory(inner, path + "/")
        if position != len(blob):
            raise ValueError("a directory has missing or surplus bytes")


def _decode_text(blob: bytes, position: int) -> tuple[str, int]:
    (length,) = _U16.unpack_from(blob, position)
    position += 2
    return decode(blob[position : position + length]), position + length


def _decode_attributes(blob: bytes, position: int) -> tuple[Attributes, int]:
    (mode,) = _U16.unpack_from(blob, position)
    owner, position = _decode_text(blob, position + 2)
    group, position = _decode_text(blob, position)
    (count,) = _U16.unpack_from(blob, position)
    position += 2
    xattrs: list[tuple[str, bytes]] = []
    for _ in range(count):
        name, position = _decode_text(blob, position)
        (length,) = _U32.unpack_from(blob, position)
        position += 4
        xattrs.append((name, blob[position : position + length]))
        position += length
    return Attributes(None if mode == NO_MODE else mode, owner, group, tuple(xattrs)), position
