"""Which reader a file needs, by its first bytes. Pure."""

from __future__ import annotations

from collections.abc import Callable

from nexis_eval.repro.content.archives import ar_archive, cpio_archive, tar_archive, zip_archive
from nexis_eval.repro.content.base import DAMAGE, Data, Parsed
from nexis_eval.repro.content.compressed import bzip2_stream, gzip_stream, xz_stream, zstd_stream
from nexis_eval.repro.content.elf import elf_file
from nexis_eval.repro.content.ext import ext_image, is_ext
from nexis_eval.repro.content.fat import fat_image, is_fat
from nexis_eval.repro.content.iso import is_iso, iso_image
from nexis_eval.repro.content.pe import is_pe, pe_image
from nexis_eval.repro.content.squashfs import MAGIC as SQUASHFS
from nexis_eval.repro.content.squashfs import squashfs_image

Reader = Callable[[Data], Parsed]


def _starts(*magics: bytes) -> Callable[[Data], bool]:
    return lambda data: any(data[: len(magic)] == magic for magic in magics)


READERS: tuple[tuple[Callable[[Data], bool], Reader], ...] = (
    (_starts(b"\x7fELF"), elf_file),
    (_starts(b"!<arch>\n"), ar_archive),
    (_starts(b"\x1f\x8b"), gzip_stream),
    (_starts(b"BZh"), bzip2_stream),
    (_starts(b"\xfd7zXZ\0"), xz_stream),
    (_starts(b"\x28\xb5\x2f\xfd"), zstd_stream),
    (_starts(b"PK\x03\x04", b"PK\x05\x06"), zip_archive),
    (_starts(b"070701", b"070702"), cpio_archive),
    (_starts(SQUASHFS), squashfs_image),
    (lambda data: data[257:262] == b"ustar", tar_archive),
    (lambda data: data[:2] == b"MZ" and is_pe(data), pe_image),
    (is_iso, iso_image),
    (is_ext, ext_image),
    (is_fat, fat_image),
)
"""Tested in this order; file systems last, because a boot sector may come before them."""


def parse(data: Data) -> Parsed | None:
    """Open ``data`` as what it is; ``None`` for texts, unknown formats and damaged files."""
    for recognise, reader in READERS:
        if recognise(data):
            try:
                return reader(data)
            except DAMAGE:
                return None
    return None
