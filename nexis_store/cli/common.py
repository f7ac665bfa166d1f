"""What the commands share: opening the store, sizes and JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from nexis_store.cli.streams import unfiltered
from nexis_store.digest import TreeDigest
from nexis_store.errors import cannot_read, cannot_write
from nexis_store.freeing import Progress
from nexis_store.store import Store, default_store_root

_BAR = 30

_SURROGATE = re.compile("[\ud800-\udfff]")


def open_store(args: argparse.Namespace, *, readonly: bool = False) -> Store:
    """The store the command line names; it must exist."""
    return Store.open(args.store or default_store_root(), create=False, readonly=readonly)


def open_input(path: Path | None) -> BinaryIO:
    """A file that the user named, or standard input; raises ``StoreError``."""
    if path is None or os.fspath(path) == "-":
        return cast(BinaryIO, sys.stdin.buffer)
    try:
        return open(path, "rb")
    except OSError as error:
        raise cannot_read(error, os.fspath(path)) from None


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces ``path`` when the block ends well; a pipe or device is written to as it is."""
    try:
        kind = os.stat(path).st_mode if path.exists() else stat.S_IFREG
        into = Path(f"{path}.partial") if stat.S_ISREG(kind) else path
        with open(into, "wb") as out:
            try:
                yield out
            except BaseException:
                if into != path:
                    into.unlink(missing_ok=True)
                raise
        if into != path:
            into.replace(path)
    except OSError as error:
        raise cannot_write(error, os.fspath(path)) from None


def counted(count: int, what: str) -> str:
    """``1 artifact``, ``2 artifacts``."""
    return f"{count} {what}" if count == 1 else f"{count:,} {what}s"


def open_to_look(args: argparse.Namespace) -> Store:
    """``open_store`` for a command that would rather write, to be safe beside collections, but can do without."""
    root = args.store or default_store_root()
    return open_store(args, readonly=os.path.exists(root) and not os.access(f"{root}/.db", os.W_OK))


def print_json(value: Any) -> None:
    """One JSON document on standard output; ``value`` is whatever ``json`` can write."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Names that are no UTF-8 cannot be printed as they are.
    print(text if text.isascii() or not _SURROGATE.search(text) else json.dumps(value, indent=2))


def print_artifacts(store: Store, digests: Iterable[TreeDigest], as_json: bool) -> None:
    """One line an artifact, or a JSON list."""
    found = [store.artifact(each) for each in digests]
    if as_json:
        print_json([{"digest": str(each.digest), "name": each.name, "path": str(each.path)} for each in found])
        return
    for each in found:
        print(f"{each.digest.hex()[:16]}  {each.name}")


def progress_for(args: argparse.Namespace, doing: str) -> Progress | None:
    """A bar on the terminal; nothing where nobody looks."""
    if args.json or not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        bar = ("#" * (_BAR * done // max(total, 1))).ljust(_BAR, ".")
        end = "\n" if done == total else ""
        print(f"\r{doing:<8} [{bar}] {done:,}/{total:,} artifacts", end=end, file=unfiltered(sys.stderr), flush=True)

    return show


def human_size(count: int) -> str:
    """Bytes with a binary unit, three significant digits."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _positive(number: float) -> int:
    if not 0 <= number < float("inf"):
        raise ValueError
    return int(number)


def parse_count(text: str) -> int:
    """A whole number from 0. Raises ``argparse.ArgumentTypeError``."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write for example 3")
    return int(text)


def parse_size(text: str) -> int:
    """``500M``, ``2G``, ``2GiB`` or a number of bytes; binary units. Raises ``argparse.ArgumentTypeError``."""
    number = text.strip().removesuffix("iB").removesuffix("B")
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(number[-1:].upper(), 1)
    if factor > 1:
        number = number[:-1]
    try:
        return _positive(float(number) * factor)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write for example 500M or 2G") from None


def parse_duration(text: str) -> int:
    """``30d``, ``12h``, ``45m`` or ``10s`` in nanoseconds. Raises ``argparse.ArgumentTypeError``."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}.get(text[-1:])
    try:
        if seconds is None:
            raise ValueError
        return _positive(float(text[:-1]) * seconds * 1e9)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write for example 30d, 12h or 45m") from None
