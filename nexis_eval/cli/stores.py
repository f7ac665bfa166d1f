"""The store that a command works on, made as the configuration's ``[store]`` says if it is not there yet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nexis_eval.cli.evaluation import take_targets
from nexis_store.layout import Layout
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import migration
from nexis_store.store import Store, default_store_root


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


def _file(args: argparse.Namespace) -> Path:
    if getattr(args, "file", None) is None:
        take_targets(args, 0, None)
    file: Path = args.file
    return file


def _may_choose(args: argparse.Namespace) -> bool:
    """Whether it is worth loading the configuration, which takes longer than everything else that opens a store."""
    if any(each.startswith("store.") for each in args.overrides):
        return True
    try:
        text = _file(args).read_bytes()
    except OSError:
        return False
    return b"store" in text and b"profile" in text


def _profile(args: argparse.Namespace) -> str:
    from nexis_eval.config.load import load

    return load(_file(args), arch=args.arch, profiles=args.profile, overrides=args.overrides).store_profile
