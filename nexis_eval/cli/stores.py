"""The store that a command works on, made as the configuration's ``[store]`` says if it is not there yet."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nexis_eval.cli.arguments import take_targets
from nexis_eval.config.listing import list_files
from nexis_store.layout import Layout
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import migration
from nexis_store.store import Store, default_store_root

_PATHS = re.compile(r"\bpaths\s*=\s*\[([^\]]*)\]")
_TEXT = re.compile(r"""["']([^"']+)["']""")


def open_store(args: argparse.Namespace) -> Store:
    """Open the store, or make it for the configured profile.

    A store that is there keeps its backend; where the configuration asks for the other one, a note says how to change
    it. Raises ``StoreError``, and where the store must be made what loading the configuration raises.
    """
    root = Path(args.store or default_store_root())
    layout = Layout(str(root.absolute()))
    there = Path(layout.format_file).exists()
    profile = "auto" if there and not _may_choose(args) else _profile(args)
    store = Store.open(root, profile=profile)
    if there and (note := migration(layout.root, backend_of(layout), profile)):
        print(f"note: {note}", file=sys.stderr)
    return store


@contextmanager
def store_to_ask(args: argparse.Namespace) -> Iterator[Store]:
    """The store, for a command that only asks: where there is none an empty one for the time being, and a note."""
    root = Path(args.store or default_store_root())
    if Path(Layout(str(root.absolute())).format_file).exists():
        with open_store(args) as store:
            yield store
        return
    if args.store is not None:
        print(f"note: there is no store at {root}; building makes it", file=sys.stderr)
    with TemporaryDirectory() as name, Store.open(Path(name) / "store") as store:
        yield store


def _file(args: argparse.Namespace) -> Path:
    if getattr(args, "file", None) is None:
        take_targets(args, 0, None)
    file: Path = args.file
    return file


def _may_choose(args: argparse.Namespace) -> bool:
    """Whether it is worth loading the configuration, which takes longer than everything else that opens a store."""
    if any(each.startswith("store.") for each in args.overrides):
        return True
    return _mentions_profile(os.path.abspath(_file(args)), set())  # noqa: PTH100 - as the loader does


def _mentions_profile(file: str, seen: set[str]) -> bool:
    """Whether the words are in a file or in what it includes, under whatever condition."""
    seen.add(file)
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, ValueError):
        return False
    if "store" in text and "profile" in text:
        return True
    if "includes" not in text:
        return False
    directory = os.path.dirname(file)  # noqa: PTH120
    below: set[str] = set()
    for paths in _PATHS.findall(text):
        for written in _TEXT.findall(paths):
            below.update(list_files(directory, written) or [os.path.normpath(os.path.join(directory, written))])  # noqa: PTH118
    return any(_mentions_profile(each, seen) for each in sorted(below - seen))


def _profile(args: argparse.Namespace) -> str:
    from nexis_eval.config.load import load

    return load(_file(args), arch=args.arch, profiles=args.profile, overrides=args.overrides).store_profile
