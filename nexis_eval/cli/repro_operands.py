"""What 'repro diff' can be given: finds out what a word on the command line names."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

from nexis_eval.cli.repro_common import read_record
from nexis_eval.record import FILE, read
from nexis_eval.repro.cache import MAX_FILE_BYTES, Cache, DirectoryShelf, HttpShelf, Shelf
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.record import BuildRecord, RecordError
from nexis_eval.repro.recording import from_build_record
from nexis_eval.repro.signing import signature_of, verify
from nexis_store.binary_cache import INDEX
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.generations import CURRENT, Generation
from nexis_store.hashing import tree_of_path
from nexis_store.roots import GENERATIONS
from nexis_store.store import Store, default_store_root

BUILDS = "builds/"
MAX_SIGNATURE_BYTES = 1 << 20


class OperandError(NexisError):
    """What was given to compare is nothing that can be compared, or the two are of different kinds.

    Records, stores and builds are compared with each other, so are trees (artifacts, generations, directories), and so
    are files.
    """

    code = "R0005"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Operand:
    """One thing to compare: exactly one of ``records``, ``tree``, ``file`` and ``cache`` is set."""

    name: str
    records: dict[str, BuildRecord] | None = None
    tree: Tree | None = None
    file: Path | None = None
    cache: Cache | None = None
    store: Store | None = None

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        if self.cache is not None:
            return "a binary cache"
        if self.records is not None:
            return "a store" if Path(self.name).is_dir() else "a record"
        return "a tree" if self.tree is not None else "a file"


class Stores:
    """The store that names are looked up in, opened when first needed; and what else has to be let go of at the end."""

    def __init__(self, stack: ExitStack, root: Path | None) -> None:
        self._stack = stack
        self._root = root
        self._store: Store | None = None

    def main(self) -> Store:
        """The store; raises ``NotInStoreError`` if there is none."""
        if self._store is None:
            self._store = self.open(self._root or default_store_root())
        return self._store

    def main_if_there(self) -> Store | None:
        """The store, if there is one."""
        root = self._root or default_store_root()
        return self.main() if _is_store(root) else None

    def open(self, root: Path) -> Store:
        """Open another one, until the end."""
        return self._stack.enter_context(Store.open(root, create=False, readonly=True))

    def directory(self) -> Path:
        """A new directory, deleted at the end."""
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="nexis-diff-")))

    def cache(self, text: str) -> Cache | None:
        """The binary cache that ``text`` names, if it names one."""
        if not is_url(text) and not (Path(text) / INDEX).is_file():
            return None
        shelf = self.shelf(text)
        cache = Cache(text, shelf, self.directory())
        return cache if cache.is_cache() else None

    def shelf(self, text: str) -> Shelf:
        """Where the files of a cache, or one file, are read from."""
        shelf = HttpShelf.open(text) if is_url(text) else DirectoryShelf(Path(text))
        self._stack.callback(shelf.close)
        return shelf

    def download(self, url: str, *, signed: bool) -> Path:
        """The file behind a URL, under its own name; ``signed`` with its signature, if one lies beside it."""
        data = self.shelf(url).get("", MAX_FILE_BYTES)
        if data is None:
            raise OperandError(f"there is neither a binary cache nor a file at {url}")
        path = self.directory() / (PurePosixPath(urlsplit(url).path).name or "download")
        path.write_bytes(data)
        if signed:
            parts = urlsplit(url)
            signature = self.shelf(urlunsplit(parts._replace(path=f"{parts.path}.sig"))).get("", MAX_SIGNATURE_BYTES)
            if signature is not None:
                signature_of(path).write_bytes(signature)
        return path


def is_url(text: str) -> bool:
    """Whether an operand is to be had over HTTP."""
    return text.startswith(("http://", "https://"))


def _is_store(path: Path) -> bool:
    return (path / ".db").is_dir()


def resolve(text: str, stores: Stores, signers: Path | None) -> Operand:
    """Find out what ``text`` names; raises ``OperandError``, ``CacheError`` or ``NotInStoreError``."""
    try:
        return _resolve(text, stores, signers)
    except OSError as error:
        place = text if error.filename is None else os.fsdecode(error.filename)
        raise OperandError(f"{place} cannot be read: {error.strerror}") from error


def expect_store(place: str) -> None:
    """Raise ``OperandError`` unless there is a store at ``place``."""
    if is_url(place) or not _is_store(Path(place)):
        kind = "binary cache" if is_url(place) else "store or binary cache"
        raise OperandError(f"there is no {kind} at {place}", hint="'nexis-eval repro record --cache DIR' makes a cache")


def resolve_again(text: str, first: Operand, stores: Stores, place: str) -> Operand:
    """Look up in the store at ``place`` (which ``stores`` opens) what ``text`` named elsewhere, ``first``.

    Never ``first`` itself: a file is the same file whatever store is asked. Raises ``OperandError``.
    """
    if not is_url(text) and not Path(text).exists():
        return resolve(text, stores, None)
    if first.records is None:
        raise OperandError(
            f"{text} is {first.kind}, not an artifact of a store: it cannot be looked up in another store",
            hint="name an artifact or a root of the store, or give B",
        )
    builds = _last_builds(stores.main())
    missing = sorted(first.records.keys() - builds.keys())
    if missing:
        raise OperandError(f"{place} has no build of {', '.join(missing)}", hint="build it there first")
    return Operand(place, records={name: builds[name] for name in first.records}, store=stores.main())


def _resolve(text: str, stores: Stores, signers: Path | None) -> Operand:
    if not text:
        raise OperandError("there is nothing to compare in ''", hint="is a variable of your script empty?")
    cache = stores.cache(text)
    if cache is not None:
        return Operand(text, cache=cache)
    path = stores.download(text, signed=signers is not None) if is_url(text) else Path(text)
    home = _store_of(path)
    if home is not None:
        return _artifact(text, stores.open(home), path.resolve().name)
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
                signer = verify(path, signers, text)
                print(f"{text}: signed by {signer}", file=sys.stderr)
            record = read_record(path, text)
            return Operand(text, records={f"{record.system}-{record.arch}": record}, store=stores.main_if_there())
        return Operand(text, file=path)
    if path.exists():
        raise OperandError(f"{text} is neither a file nor a directory")
    generation = _generation(text, stores)
    if generation is not None:
        return _artifact(text, stores.main(), str(generation.digest))
    if "/" in text and not text.startswith(BUILDS):
        raise OperandError(f"there is no {text}", hint="a file, a directory, a digest or a name in the store")
    if re.search(r"\.(json|iso)$", text):
        raise OperandError(f"there is no file {text}", hint="'nexis-eval repro record' writes records")
    return _artifact(text, stores.main(), text)


def _artifact(text: str, store: Store, name: str) -> Operand:
    digest = store.find(name)
    root = store.path(digest)
    if name.startswith(BUILDS) and (root / FILE).is_file():
        return Operand(text, records={name.removeprefix(BUILDS): _kept(store, name, digest)}, store=store)
    return Operand(text, tree=Tree(store.manifest(digest), root), store=store)


def _generation(text: str, stores: Stores) -> Generation | None:
    """The generation that ``PROFILE/NUMBER`` or ``PROFILE/current`` names, if the store has it."""
    profile, slash, number = text.removeprefix(GENERATIONS).partition("/")
    store = stores.main_if_there()
    if not slash or store is None or profile not in store.profiles():
        return None
    for each in store.generations(profile):
        if number == str(each.number) or (number == CURRENT and each.current):
            return each
    return None


def _store_of(path: Path) -> Path | None:
    """The store that a path leads into, if it is an artifact there: a generation, a root, itself."""
    real = path.resolve()
    if len(real.parents) < 3 or not (real.parents[2] / ".db").is_dir():
        return None
    return real.parents[2] if re.fullmatch(r"[0-9a-f]{64}-.*", real.name) else None


def _last_builds(store: Store) -> dict[str, BuildRecord]:
    """Of each system; of targets that were built alone where their system was not."""
    builds = {name: digest for name, digest in sorted(store.roots().items()) if name.startswith(BUILDS)}
    return {
        name.removeprefix(BUILDS): _kept(store, name, digest)
        for name, digest in builds.items()
        if ":" not in name or name.partition(":")[0] not in builds
    }


def _kept(store: Store, name: str, digest: TreeDigest) -> BuildRecord:
    system, _, arch = name.removeprefix(BUILDS).partition(":")[0].rpartition("-")
    try:
        kept = read(store, digest)
    except ValueError as error:
        raise RecordError(
            f"{name} was recorded by another version of this program, which this one cannot read ({error})",
            hint=f"build {system} for {arch} again, which takes only what that version did otherwise",
        ) from None
    return from_build_record(store, kept, system, arch)
