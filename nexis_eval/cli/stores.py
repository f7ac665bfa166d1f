"""The store that a command works on, made as the configuration's ``[store]`` says if it is not there yet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nexis_store.layout import Layout
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import migration
from nexis_store.store import Store, default_store_root

if TYPE_CHECKING:
    from nexis_eval.evaluation.result import Summary
    from nexis_eval.record import Record


def open_store(args: argparse.Namespace, profile: str) -> Store:
    """Open the store, or make it for ``profile``, which is what the configuration says.

    An existing store keeps its backend; where the configuration asks for the other one, a note says how to change it.
    Raises ``StoreError``.
    """
    root = Path(args.store or default_store_root())
    layout = Layout(str(root.absolute()))
    exists = Path(layout.format_file).exists()
    store = Store.open(root, profile=profile)
    if exists and (note := migration(layout.root, backend_of(layout), profile)):
        print(f"note: {note}", file=sys.stderr)
    return store


@contextmanager
def store_to_ask(args: argparse.Namespace, profile: str) -> Iterator[Store]:
    """The store, for a command that only asks: where there is none an empty one for the time being, and a note."""
    root = Path(args.store or default_store_root())
    if Path(Layout(str(root.absolute())).format_file).exists():
        with open_store(args, profile) as store:
            yield store
        return
    if args.store is not None:
        print(f"note: there is no store at {root}; building makes it", file=sys.stderr)
    with TemporaryDirectory() as name, Store.open(Path(name) / "store") as store:
        yield store


def last_record(store: Store, summary: Summary, targets: Sequence[str]) -> Record | None:
    """The record of the last build (``record.last``); one that this program cannot read counts as none, with a note."""
    from nexis_eval.record import last

    try:
        return last(store, summary.system, summary.arch, targets)
    except ValueError as error:
        print(
            f"note: this program cannot read the record of the last build ({error}): another version wrote it, or it "
            "is damaged; the next build writes it anew",
            file=sys.stderr,
        )
        return None
