"""Archives into artifacts, in one pass and with distrust: nothing an archive says can reach beyond its own tree."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from nexis_store.errors import ConflictError, HostileArchiveError, StoreError
from nexis_store.ingest import Writer
from nexis_store.landing import is_merge_link, merge_usr, merged_target, normal_path
from nexis_store.names import why_bad_path
from nexis_store.records import SMALL
from nexis_store.tree import DEFAULT, Attributes

if TYPE_CHECKING:
    import tarfile
    import zipfile

Format = Literal["tar", "zip", "deb"]
XATTR = "SCHILY.xattr."

_LONG = 100
"""So much of a name is shown in a message."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one archive may unpack to before it is taken for a bomb."""

    entries: int = 4_000_000
    bytes: int = 1 << 38


@dataclass(frozen=True, slots=True)
class Rules:
    """How the paths of an archive map to paths of the tree."""

    strip: int = 0
    prefix: str = ""
    exclude: tuple[str, ...] = ()
    usrmerge: bool = True
    keep_attributes: bool = False
    """Whether owners, modes and xattrs of the archive count (packages), or are those of whoever packed it (sources)."""
    limits: Limits = Limits()

    def place(self, path: str) -> str | None:
        """Where an archive's (normal) path lies before the merge of /usr; ``None`` when it is left out."""
        parts = path.split("/")[self.strip :]
        if not parts:
            return None
        path = "/".join(parts)
        if self.prefix:
            path = f"{self.prefix.strip('/')}/{path}"
        if any(path == each or path.startswith(each + "/") for each in self.exclude):
            return None
        merged = merge_usr(path)
        if merged != path and any(merged == each or merged.startswith(each + "/") for each in self.exclude):
            return None
        return path


def _hostile(writer: Writer, path: str, why: str) -> HostileArchiveError:
    named = repr(path) if len(path) <= _LONG else f"{path[:_LONG]!r}…"
    return HostileArchiveError(
        f"{writer.name}: the archive has the entry {named}: {why}",
        hint="nothing was unpacked; if you trust it, leave the entry out (--exclude, or 'exclude' in a recipe)",
    )


class _Unpacker:
    """Puts archive members into a writer, whatever the format."""

    def __init__(self, writer: Writer, rules: Rules) -> None:
        self.writer = writer
        self.rules = rules
        self._entries = 0
        self._bytes = 0

    def count(self, name: str, size: int) -> None:
        self._entries += 1
        self._bytes += size
        if self._entries > self.rules.limits.entries or self._bytes > self.rules.limits.bytes:
            raise _hostile(self.writer, name, "it unpacks to more than any sane archive does")

    def place(self, name: str) -> str | None:
        """Check a member's name; ``None`` if it is the root or left out. ``./`` in front and ``/`` behind are usual."""
        path = name.rstrip("/")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        if path in ("", "."):
            return None
        why = why_bad_path(path)
        if why is not None:
            raise _hostile(self.writer, name, why)
        return self.rules.place(path)

    def final(self, path: str) -> str:
        return merge_usr(path) if self.rules.usrmerge else path

    def ready(self, path: str) -> None:
        """Make room: a later member replaces an earlier one, but never something that others lie below."""
        there = self.writer.entry(path)
        if there is not None:
            if there.kind == "d":
                raise _hostile(self.writer, path, "it replaces a directory")
            self.writer.remove(path)

    def directory(self, path: str, attributes: Attributes) -> None:
        path = self.final(path)
        there = self.writer.entry(path)
        if there is not None and there.kind != "d":
            raise _hostile(self.writer, path, "a directory replaces something else")
        self.writer.directory(path, attributes)

    def symlink(self, path: str, target: str, attributes: Attributes) -> None:
        if not target or "\0" in target or len(target) > 4000:
            raise _hostile(self.writer, path, f"a symlink to {target!r}")
        if not target.startswith("/") and normal_path(f"{path.rpartition('/')[0]}/{target}") is None:
            raise _hostile(self.writer, path, f"a symlink to {target}, which leaves the tree")
        place = path
        if self.rules.usrmerge and not is_merge_link(path, target):
            place, target = merge_usr(path), merged_target(path, target)
        self.ready(place)
        self.writer.symlink(place, target, attributes)

    def hardlink(self, path: str, earlier: str, attributes: Attributes) -> None:
        path = self.final(path)
        entry = self.writer.entry(earlier)
        if entry is None:
            raise _hostile(self.writer, path, f"a hard link to {earlier}, which did not come before it")
        if path == earlier:
            return
        self.ready(path)
        if entry.kind == "l":
            self.writer.symlink(path, entry.target or "", entry.attributes)
        elif entry.kind == "f":
            self.writer.duplicate(path, earlier, attributes=attributes)
        else:
            raise _hostile(self.writer, path, f"a hard link to the directory {earlier}")

    def file(self, path: str, data: BinaryIO, size: int, executable: bool, attributes: Attributes) -> None:
        path = self.final(path)
        self.ready(path)
        self.writer.expect(path, size)
        content = data.read(size) if size <= SMALL else data
        self.writer.file(path, content, executable=executable, attributes=attributes)


def unpack(writer: Writer, stream: BinaryIO, format: Format, rules: Rules) -> None:
    """Write all members of the archive into ``writer``; raises ``HostileArchiveError`` or ``StoreError``."""
    import lzma
    import tarfile
    import zipfile
    import zlib

    try:
        if format == "zip":
            _unpack_zip(_Unpacker(writer, rules), stream)
        elif format == "deb":
            _unpack_tar(_Unpacker(writer, rules), deb_data(stream, writer.name))
        elif format == "tar":
            _unpack_tar(_Unpacker(writer, rules), stream)
        else:
            raise StoreError(f"{format!r} is no archive format", hint="use tar, zip or deb")
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise StoreError(
            f"{writer.name}: the {format} archive is damaged or none: {error}",
            hint="check that the download is what the recipe says, and its format",
        ) from error
    except ConflictError as error:
        raise HostileArchiveError(f"{error.message}", hint="nothing was unpacked") from error
    except OSError as error:
        # gzip and bz2 report damage as OSError without a number.
        if error.errno is not None:
            raise
        raise StoreError(f"{writer.name}: the {format} archive is damaged: {error}") from error


class _Joined:
    """A stream that starts with bytes that were read ahead."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if self._head:
            if size < 0:
                head, self._head = self._head, b""
                return head + self._rest.read()
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._rest.read(size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The caller owns the stream."""


class _Zstandard:
    """A decompressing reader whose errors are those that the other decompressors have."""

    def __init__(self, stream: BinaryIO) -> None:
        import zstandard

        self._error: type[Exception] = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._reader = decompressor.stream_reader(stream, read_across_frames=True)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._reader.read(size)
        except self._error as error:
            raise EOFError(str(error)) from None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The caller owns the stream."""


def decompressed(stream: BinaryIO) -> BinaryIO:
    """The stream itself or what its gzip, xz, bzip2 or zstd compression holds, found by its first bytes."""
    head = b""
    while len(head) < 6 and (more := stream.read(6 - len(head))):
        head += more
    joined = cast(BinaryIO, _Joined(head, stream))
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return cast(BinaryIO, gzip.GzipFile(fileobj=joined))
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        import lzma

        return cast(BinaryIO, lzma.LZMAFile(joined))
    if head.startswith(b"BZh"):
        import bz2

        return cast(BinaryIO, bz2.BZ2File(joined))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(BinaryIO, _Zstandard(joined))
    return joined


def _attributes(member: tarfile.TarInfo) -> Attributes:
    owner = member.uname or str(member.uid)
    group = member.gname or str(member.gid)
    xattrs = tuple(
        (key[len(XATTR) :], value.encode("utf-8", "surrogateescape"))
        for key, value in member.pax_headers.items()
        if key.startswith(XATTR)
    )
    return Attributes(
        member.mode & 0o7777, "root" if owner == "0" else owner, "root" if group == "0" else group, xattrs
    )


def _unpack_tar(unpacker: _Unpacker, stream: BinaryIO) -> None:
    import tarfile

    keep = unpacker.rules.keep_attributes
    with tarfile.open(
        fileobj=decompressed(stream), mode="r|", bufsize=1 << 16, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member in archive:
            unpacker.count(member.name, member.size)
            place = unpacker.place(member.name)
            if place is None:
                continue
            attributes = _attributes(member) if keep else DEFAULT
            if member.isdir():
                unpacker.directory(place, attributes)
            elif member.issym():
                unpacker.symlink(place, member.linkname, attributes)
            elif member.islnk():
                earlier = unpacker.place(member.linkname)
                if earlier is None:
                    raise _hostile(unpacker.writer, member.name, f"a hard link to {member.linkname}, which is left out")
                unpacker.hardlink(place, unpacker.final(earlier), attributes)
            elif member.isreg():
                data = archive.extractfile(member)
                assert data is not None
                unpacker.file(place, cast(BinaryIO, data), member.size, bool(member.mode & 0o111), attributes)
            else:
                raise _hostile(unpacker.writer, member.name, "a device, fifo or unknown kind of file")
            # The stream reader keeps every header otherwise: memory would grow with the archive.
            archive.members = []  # type: ignore[attr-defined]


def _unpack_zip(unpacker: _Unpacker, stream: BinaryIO) -> None:
    import tempfile
    import zipfile

    with tempfile.TemporaryFile() as spooled:
        source: BinaryIO = stream
        if not stream.seekable():
            while chunk := stream.read(1 << 20):
                spooled.write(chunk)
            spooled.seek(0)
            source = cast(BinaryIO, spooled)
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                _unpack_zip_member(unpacker, archive, member)


def _unpack_zip_member(unpacker: _Unpacker, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    unpacker.count(member.filename, member.file_size)
    place = unpacker.place(member.filename)
    if place is None:
        return
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if member.is_dir() or kind == stat.S_IFDIR:
        unpacker.directory(place, DEFAULT)
        return
    if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise _hostile(unpacker.writer, member.filename, "a device, fifo or unknown kind of file")
    if member.flag_bits & 1:
        raise StoreError(f"{unpacker.writer.name}: {member.filename} in the zip archive is encrypted")
    if kind == stat.S_IFLNK:
        if member.file_size > 4096:
            raise _hostile(unpacker.writer, member.filename, "a symlink with an impossible target")
        target = archive.read(member).decode("utf-8", "surrogateescape")
        unpacker.symlink(place, target, DEFAULT)
        return
    with archive.open(member) as data:
        unpacker.file(place, cast(BinaryIO, data), member.file_size, bool(mode & 0o111), DEFAULT)


def deb_data(stream: BinaryIO, name: str) -> BinaryIO:
    """The (compressed) ``data.tar`` of a Debian package, which is an ``ar`` archive. Format: deb(5)."""

    def exactly(size: int) -> bytes:
        parts = []
        while size and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
        if size:
            raise StoreError(f"{name}: the deb archive is cut short", hint="download it again")
        return b"".join(parts)

    if exactly(8) != b"!<arch>\n":
        raise StoreError(f"{name}: not a Debian package", hint="check the format that the recipe says")
    while True:
        header = exactly(60)
        member = header[:16].rstrip().rstrip(b"/").decode("ascii", "replace")
        try:
            size = int(header[48:58])
        except ValueError:
            size = -1
        if header[58:] != b"`\n" or size < 0:
            raise StoreError(f"{name}: the deb archive is damaged", hint="download it again")
        if member.startswith("data.tar"):
            return cast(BinaryIO, _Bounded(stream, size))
        remaining = size + size % 2
        while remaining:
            remaining -= len(exactly(min(remaining, 1 << 16)))


class _Bounded:
    """The next ``size`` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self._left:
            size = self._left
        data = self._stream.read(size) if size else b""
        self._left -= len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The caller owns the stream."""


def rules_for(
    format: Format,
    *,
    strip: int,
    prefix: str,
    exclude: Sequence[str],
    usrmerge: bool,
    keep_attributes: bool | None,
) -> Rules:
    """Rules with the default of each format: a Debian package means its owners and modes, a source archive does not."""
    hidden = tuple(each.strip("/") for each in exclude)
    keep = format == "deb" if keep_attributes is None else keep_attributes
    return Rules(strip, prefix.strip("/"), hidden, usrmerge, keep)


__all__ = ["Format", "Limits", "Rules", "deb_data", "decompressed", "rules_for", "unpack"]
