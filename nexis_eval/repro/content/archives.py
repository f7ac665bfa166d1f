"""Archives: ar (and thin static libraries), tar, cpio in its newc form, zip. Pure."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable

from nexis_eval.repro.content.base import Data, FormatError, Parsed, Part

TAR_KINDS = {
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hard link",
    tarfile.DIRTYPE: "directory",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}


def ar_archive(data: Data) -> Parsed:
    """Members of an ar archive (System V names, GNU long names), as static libraries and .deb files are."""
    raw = bytes(data)
    at, names, parts = 8, b"", []
    while at + 60 <= len(raw):
        header = raw[at : at + 60]
        if header[58:] != b"`\n":
            raise FormatError("not an ar header")
        size = int(header[48:58])
        body = raw[at + 60 : at + 60 + size]
        name = header[:16].rstrip()
        at += 60 + size + (size & 1)
        if name == b"//":
            names = body
            continue
        if name in (b"/", b"/SYM64/"):
            parts.append(Part("symbol index", body, _ar_fields(header)))
            continue
        if name.startswith(b"/") and name[1:].isdigit():
            start = int(name[1:])
            name = names[start : names.index(b"\n", start)]
        parts.append(Part(name.rstrip(b"/").decode(errors="replace"), body, _ar_fields(header)))
    return Parsed("ar", (), tuple(parts))


def _ar_fields(header: bytes) -> tuple[tuple[str, str], ...]:
    text = header.decode("latin-1")
    return (
        ("mtime", text[16:28].strip()),
        ("uid", text[28:34].strip()),
        ("gid", text[34:40].strip()),
        ("mode", text[40:48].strip()),
    )


def tar_archive(data: Data) -> Parsed:
    """Members of an uncompressed tar archive in the ustar, GNU or pax form."""
    raw = bytes(data)
    parts = []
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            formats = {archive.format}
            for member in archive:
                fields = [
                    ("kind", TAR_KINDS.get(member.type, "file")),
                    ("mode", f"{member.mode:04o}"),
                    ("owner", f"{member.uid} {member.uname}".rstrip()),
                    ("group", f"{member.gid} {member.gname}".rstrip()),
                    ("mtime", f"{member.mtime:.9f}".rstrip("0").rstrip(".")),
                ]
                if member.linkname:
                    fields.append(("link target", member.linkname))
                fields += [
                    (f"pax {label}", value) for label, value in sorted(member.pax_headers.items()) if label != "mtime"
                ]
                start = member.offset_data
                body = raw[start : start + member.size] if member.isreg() else b""
                parts.append(Part(member.name, body, tuple(fields)))
    except (tarfile.TarError, ValueError) as error:
        raise FormatError(str(error)) from None
    if not parts:
        raise FormatError("an empty archive")
    return Parsed("tar", (("format", " ".join(map(str, formats))),), tuple(parts))


def cpio_archive(data: Data) -> Parsed:
    """Members of a newc archive; what follows its trailer (a second, compressed archive) is one more part."""
    raw = bytes(data)
    at, parts = 0, []
    while raw[at : at + 6] in (b"070701", b"070702"):
        values = [int(raw[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        inode, mode, uid, gid, links, mtime, size, *_, device_major, device_minor, name_size, _check = values
        start = at + 110
        name = raw[start : start + name_size - 1].decode(errors="replace")
        body_at = (start + name_size + 3) & ~3
        at = (body_at + size + 3) & ~3
        if name == "TRAILER!!!":
            rest = raw[at:].lstrip(b"\0")
            if rest:
                parts.append(Part("rest after the trailer", rest))
            break
        fields = [
            ("mode", f"{mode:06o}"),
            ("uid", str(uid)),
            ("gid", str(gid)),
            ("mtime", str(mtime)),
            ("inode", str(inode)),
            ("links", str(links)),
        ]
        if device_major or device_minor:
            fields.append(("device", f"{device_major}:{device_minor}"))
        parts.append(Part(name, raw[body_at : body_at + size], tuple(fields)))
    return Parsed("cpio", (), tuple(parts))


def zip_archive(data: Data) -> Parsed:
    """Members of a zip archive (also jar, whl, odt …) by its central directory."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(bytes(data)))
    except (zipfile.BadZipFile, struct.error) as error:
        raise FormatError(str(error)) from None

    def reader(member: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                return archive.read(member)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, MemoryError) as error:
                raise FormatError(str(error)) from None

        return read

    parts = []
    for member in archive.infolist():
        year, month, day, hour, minute, second = member.date_time
        fields = [
            ("mtime", f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
            ("mode", f"{member.external_attr >> 16:06o}"),
            ("method", str(member.compress_type)),
            ("extra", _zip_extra(member.extra)),
        ]
        if member.comment:
            fields.append(("comment", member.comment.decode(errors="replace")))
        parts.append(Part(member.filename, reader(member), tuple(fields)))
    return Parsed("zip", (("comment", archive.comment.decode(errors="replace")),), tuple(parts))


def _zip_extra(extra: bytes) -> str:
    """The extra fields in words: the extended time stamp (0x5455) and Unix owner (0x7875) of Info-ZIP."""
    words, at = [], 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + size]
        if kind == 0x5455 and size >= 5:
            words.append(f"mtime {struct.unpack_from('<I', body, 1)[0]}")
        elif kind == 0x7875 and size >= 3:
            uid_size = body[1]
            uid = int.from_bytes(body[2 : 2 + uid_size], "little")
            gid = int.from_bytes(body[3 + uid_size :], "little")
            words.append(f"uid {uid} gid {gid}")
        else:
            words.append(f"{kind:#06x} {body.hex()}")
        at += 4 + size
    return ", ".join(words)
