"""Compare A and B: say what differs, where inside, why, and what merely follows.

A and B may each be a record (a file made by 'repro record'), a store (its last builds), a root or artifact in the store
(a name, a digest or its beginning), a directory, or a file such as an ISO image, which is opened. Without B, A is
compared with the same of another store: --against.

Exit codes: 0 the same; 1 something differs; 2 could not be compared.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from nexis_eval.cli.evaluation import add_store_argument
from nexis_eval.cli.repro_common import add_report_arguments, deliver
from nexis_eval.record import FILE, decode
from nexis_eval.repro.compare import Tree, compare_trees, open_files
from nexis_eval.repro.diff import Side, diff_records, differences_of_view
from nexis_eval.repro.record import BuildRecord, decode_record
from nexis_eval.repro.recording import from_build_record
from nexis_eval.repro.report import Report, Status, Subject
from nexis_eval.repro.signing import verify
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.hashing import tree_of_path
from nexis_store.store import Store, default_store_root

BUILDS = "builds/"


class OperandError(NexisError):
    """What was given to compare is nothing that can be compared, or the two are of different kinds."""

    code = "R0005"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Operand:
    """One thing to compare: exactly one of the three is set."""

    name: str
    records: dict[str, BuildRecord] | None = None
    tree: Tree | None = None
    file: Path | None = None
    store: Store | None = None

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "a record" if self.records is not None else "a tree" if self.tree is not None else "a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("a", metavar="A", help="a record, a store, an artifact, a directory, a file")
    parser.add_argument("b", metavar="B", nargs="?", help="what to compare it with")
    add_store_argument(parser)
    parser.add_argument("--against", metavar="STORE", help="another store: look B (or A again) up there")
    parser.add_argument("--everything", action="store_true", help="list what is the same as well")
    parser.add_argument(
        "--signers", type=Path, metavar="FILE", help="records must be signed by someone in this allowed_signers file"
    )
    parser.add_argument(
        "--diffoscope", action="store_true", help="add what diffoscope says about differing files, if it is installed"
    )
    add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    if args.b is None and args.against is None:
        raise OperandError("nothing to compare with", hint="give B, or another store with --against")
    with ExitStack() as stack:
        stores = _Stores(stack, args.store)
        first = resolve(args.a, stores, args.signers)
        other = _Stores(stack, Path(args.against)) if args.against else stores
        second = resolve(args.b or args.a, other, args.signers)
        report = compare(first, second, everything=args.everything, diffoscope=args.diffoscope)
        return deliver(args, report)


class _Stores:
    """The store that names are looked up in, opened when first needed."""

    def __init__(self, stack: ExitStack, root: Path | None) -> None:
        self._stack = stack
        self._root = root
        self._store: Store | None = None

    def main(self) -> Store:
        if self._store is None:
            self._store = self.open(self._root or default_store_root())
        return self._store

    def main_if_there(self) -> Store | None:
        root = self._root or default_store_root()
        return self.main() if _is_store(root) else None

    def open(self, root: Path) -> Store:
        return self._stack.enter_context(Store.open(root, create=False, readonly=True))


def _is_store(path: Path) -> bool:
    return (path / ".db").is_dir()


def resolve(text: str, stores: _Stores, signers: Path | None) -> Operand:
    """Find out what ``text`` names; raises ``OperandError`` or ``NotInStoreError``."""
    path = Path(text)
    if path.is_dir():
        if _is_store(path):
            store = stores.open(path)
            return Operand(text, records=_last_builds(store), store=store)
        return Operand(text, tree=Tree(tree_of_path(path), path))
    if path.is_file():
        with path.open("rb") as file:
            is_json = file.read(1) == b"{"
        if is_json and b'"nexis record' in path.read_bytes():
            if signers is not None:
                signer = verify(path, signers)
                print(f"{text}: signed by {signer}", file=sys.stderr)
            record = decode_record(path.read_text(), text)
            return Operand(text, records={f"{record.system}-{record.arch}": record}, store=stores.main_if_there())
        return Operand(text, file=path)
    if "/" in text and not text.startswith(BUILDS):
        raise OperandError(f"there is no {text}", hint="a file, a directory, a digest or a name in the store")
    store = stores.main()
    digest = store.find(text)
    root = store.path(digest)
    if text.startswith(BUILDS) and (root / FILE).is_file():
        return Operand(text, records={text.removeprefix(BUILDS): _kept(store, text, digest)}, store=store)
    return Operand(text, tree=Tree(store.manifest(digest), root), store=store)


def _last_builds(store: Store) -> dict[str, BuildRecord]:
    return {
        name.removeprefix(BUILDS): _kept(store, name, digest)
        for name, digest in sorted(store.roots().items())
        if name.startswith(BUILDS)
    }


def _kept(store: Store, name: str, digest: TreeDigest) -> BuildRecord:
    system, _, arch = name.removeprefix(BUILDS).rpartition("-")
    return from_build_record(store, decode((store.path(digest) / FILE).read_text()), system, arch)


def compare(first: Operand, second: Operand, *, everything: bool, diffoscope: bool) -> Report:
    """Compare two operands of one kind."""
    if first.records is not None and second.records is not None:
        return _records(first, second, everything)
    if first.tree is not None and second.tree is not None:
        found = compare_trees(first.tree, second.tree)
        if diffoscope and found and first.tree.root and second.tree.root:
            notes = _diffoscope(first.tree.root, second.tree.root)
        else:
            notes = ()
        status = Status.DIFFERS if found else Status.SAME
        name = second.name if first.name == second.name else f"{first.name} and {second.name}"
        return Report("Two trees compared", first.name, second.name, (Subject(name, "", status, found, notes),))
    if first.file is not None and second.file is not None:
        view = open_files(first.file.name, first.file, second.file)
        notes = _diffoscope(first.file, second.file) if diffoscope and view else ()
        subject = Subject(second.file.name, "", Status.SAME)
        if view is not None:
            subject = replace(subject, status=Status.DIFFERS, differences=differences_of_view(view), notes=notes)
        return Report("Two files compared", first.name, second.name, (subject,))
    raise OperandError(
        f"{first.name} is {first.kind} and {second.name} is {second.kind}", hint="compare things of one kind"
    )


def _records(first: Operand, second: Operand, everything: bool) -> Report:
    assert first.records is not None and second.records is not None
    subjects: list[Subject] = []
    facts: tuple[tuple[str, str], ...] = ()
    pairs = [(name, first.records[name], second.records[name]) for name in first.records if name in second.records]
    if not pairs and len(first.records) == len(second.records) == 1:
        (one,), (other,) = first.records.values(), second.records.values()
        pairs = [("", one, other)]
    for name, before, after in pairs:
        report = diff_records(_side(first, before), _side(second, after), everything=everything)
        facts = report.facts if len(pairs) == 1 else (("builds", str(len(pairs))),)
        prefix = f"{name}: " if len(pairs) > 1 else ""
        subjects += [replace(each, name=prefix + each.name) for each in report.subjects]
    if len(pairs) > 1 or not pairs:
        for name in sorted(first.records.keys() ^ second.records.keys()):
            where = first.name if name in first.records else second.name
            subjects.append(Subject(name, "", Status.FAILED, notes=(f"only in {where}",)))
    return Report("Two builds compared", first.name, second.name, tuple(subjects), facts)


def _side(operand: Operand, record: BuildRecord) -> Side:
    store = operand.store

    def tree(digest: TreeDigest) -> Tree | None:
        if store is None or not store.has(digest):
            return None
        return Tree(store.manifest(digest), store.path(digest))

    return Side(operand.name, record, tree)


def _diffoscope(first: Path, second: Path) -> tuple[str, ...]:
    """What diffoscope says, where it is installed."""
    if shutil.which("diffoscope") is None:
        return ("diffoscope is not installed",)
    result = subprocess.run(
        ["diffoscope", "--text", "-", "--no-progress", "--exclude-directory-metadata=yes", first, second],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return (result.stdout or result.stderr,)
