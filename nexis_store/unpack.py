"""Archives into artifacts, in one pass and with distrust: nothing an archive says can reach beyond its own tree."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from nexis_store.deb import deb_data
from nexis_store.errors import ConflictError, HostileArchiveError, StoreError
from nexis_store.ingest import Writer
from nexis_store.landing import is_merge_link, merge_usr, merged_target, normal_path
from nexis_store.members import (
    DEFAULT_LIMITS,
    BadArchiveError,
    Format,
    HostileMemberError,
    Limits,
    Member,
    Read,
    UnsupportedArchiveError,
    shown,
)
from nexis_store.names import why_bad_owner, why_bad_path
from nexis_store.records import SMALL
from nexis_store.tar import tar_members
from nexis_store.tree import DEFAULT, Attributes
from nexis_store.zip import zip_members

MAX_XATTR_BYTES = 1 << 16
_XATTR_NAME = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Rules:
    """How the paths of an archive map to paths of the tree."""

    strip: int = 0
    prefix: str = ""
    exclude: tuple[str, ...] = ()
    usrmerge: bool = True
    keep_attributes: bool = False
    """Whether owners, modes and xattrs of the archive count (packages), or are those of whoever packed it (sources)."""
    limits: Limits = DEFAULT_LIMITS

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
    return _refused(writer, f"the archive has the entry {shown(path)}: {why}")


def _refused(writer: Writer, what: str) -> HostileArchiveError:
    return HostileArchiveError(
        f"{writer.name}: {what}",
        hint="nothing was unpacked; if you trust it, leave the entry out (--exclude, or 'exclude' in a recipe)",
    )


class _Unpacker:
    """Puts archive members into a writer, whatever the format."""

    def __init__(self, writer: Writer, rules: Rules) -> None:
        self.writer = writer
        self.rules = rules

    def place(self, path: str) -> str | None:
        """Check a member's path; ``None`` if it is the root or left out."""
        if not path:
            return None
        why = why_bad_path(path)
        if why is not None:
            raise _hostile(self.writer, path, why)
        return self.rules.place(path)

    def member(self, member: Member) -> None:
        """Write one member; raises ``HostileArchiveError``."""
        place = self.place(member.path)
        if place is None:
            return
        attributes = self._attributes(member) if self.rules.keep_attributes else DEFAULT
        if member.kind == "directory":
            self.directory(place, attributes)
        elif member.kind == "symlink":
            self.symlink(place, member.target, attributes)
        elif member.kind == "hardlink":
            earlier = self.place(member.target)
            if earlier is None:
                raise _hostile(self.writer, member.path, f"a hard link to {shown(member.target)}, which is left out")
            self.hardlink(place, self.final(earlier), attributes)
        elif member.kind == "file":
            assert member.read is not None
            self.file(place, member.read, member.size, member.executable, attributes)
        else:
            raise _hostile(self.writer, member.path, "a device, fifo or unknown kind of file")

    def _attributes(self, member: Member) -> Attributes:
        for who in (member.owner, member.group):
            why = why_bad_owner(who)
            if why is not None:
                raise _hostile(self.writer, member.path, f"it belongs to {shown(who)}: {why}")
        for name, value in member.xattrs:
            if not _XATTR_NAME.fullmatch(name) or len(value) > MAX_XATTR_BYTES:
                raise _hostile(self.writer, member.path, f"it has the impossible extended attribute {shown(name)}")
        return Attributes(member.mode, member.owner, member.group, member.xattrs)

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
            raise _hostile(self.writer, path, f"a symlink to {shown(target)}")
        if not target.startswith("/") and normal_path(f"{path.rpartition('/')[0]}/{target}") is None:
            raise _hostile(self.writer, path, f"a symlink to {shown(target)}, which leaves the tree")
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

    def file(self, path: str, read: Read, size: int, executable: bool, attributes: Attributes) -> None:
        path = self.final(path)
        self.ready(path)
        self.writer.expect(path, size)
        content: bytes | BinaryIO = cast(BinaryIO, _Content(read))
        if size <= SMALL:
            content = b"".join(iter(lambda: read(size + 1), b""))
        self.writer.file(path, content, executable=executable, attributes=attributes)


class _Content:
    """What a writer takes a large file from."""

    def __init__(self, read: Read) -> None:
        self.read = read


def members_of(stream: BinaryIO, format: Format, limits: Limits) -> contextlib.AbstractContextManager[Iterator[Member]]:
    """The members of an archive in a stream. Raises ``BadArchiveError``, ``UnsupportedArchiveError``."""
    return _members(stream, format, limits)


@contextlib.contextmanager
def _members(stream: BinaryIO, format: Format, limits: Limits) -> Iterator[Iterator[Member]]:
    import tempfile

    if format == "tar":
        yield tar_members(stream.read, limits)
    elif format == "deb":
        yield tar_members(deb_data(stream.read), limits)
    elif stream.seekable():
        yield zip_members(stream, stream.seek(0, os.SEEK_END), limits)
    else:
        with tempfile.TemporaryFile() as spooled:
            while chunk := stream.read(1 << 20):
                spooled.write(chunk)
            yield zip_members(cast(BinaryIO, spooled), spooled.tell(), limits)


def unpack(writer: Writer, stream: BinaryIO, format: Format, rules: Rules) -> None:
    """Write all members of the archive into ``writer``; raises ``HostileArchiveError`` or ``StoreError``."""
    if format not in ("tar", "zip", "deb"):
        raise StoreError(f"{format!r} is not an archive format", hint="use tar, zip or deb")
    try:
        with members_of(stream, format, rules.limits) as members:
            unpacker = _Unpacker(writer, rules)
            for member in members:
                unpacker.member(member)
    except HostileMemberError as error:
        raise _refused(writer, str(error)) from None
    except BadArchiveError as error:
        raise StoreError(
            f"{writer.name}: the {format} archive is damaged or is not one: {error}",
            hint="check that the download is what the recipe says, and its format",
        ) from None
    except UnsupportedArchiveError as error:
        raise StoreError(
            f"{writer.name}: the {format} archive cannot be unpacked: {error}",
            hint="pack it again as a tar, or add the directory that another program unpacked",
        ) from None
    except ConflictError as error:
        raise HostileArchiveError(f"{error.message}", hint="nothing was unpacked") from error


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


__all__ = ["Format", "Limits", "Rules", "members_of", "rules_for", "unpack"]
