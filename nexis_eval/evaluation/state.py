"""What has to be known of an evaluation, beside its graph, to take an edit of the files into it."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from nexis_eval.config.check import DEPENDENCY_KEYS, local_paths
from nexis_eval.config.model import Config, KeyPath, nowhere
from nexis_eval.config.origin import Directives, Entry, Origins
from nexis_eval.config.settings import SECTIONS
from nexis_eval.graph.target import SystemPart
from nexis_eval.packages.making import Memory
from nexis_eval.secrets import Secret, secrets_in
from nexis_eval.system.view import Reads

if TYPE_CHECKING:
    from nexis_eval.instantiate import Instantiator


class Said(NamedTuple):
    """What a file says."""

    rank: int
    """The strength of its values."""
    directives: Directives
    rest: bytes
    """A digest of all that is not about packages."""
    names: tuple[str, ...]
    """The packages that it says something about, as often as it does."""
    needed: tuple[str, ...]
    """The packages that these depend on, in any way; maybe more, after edits."""


@dataclass(frozen=True, slots=True)
class State:
    """Of a whole evaluation, or of one that edits were taken into."""

    base: bytes
    """The configuration without its packages."""
    files: Mapping[str, Said]
    """In the order in which what they say is merged."""
    overridden: frozenset[str]
    """Packages that the command line has a say in."""
    locals: Mapping[str, tuple[str, ...]]
    """The user's files that packages name, each with these packages."""
    lock: str
    """The text of the lock file."""
    reads: Reads
    """What the parts of the system read of packages: an edit of anything else leaves them as they are."""
    system: Mapping[SystemPart, int]
    """The targets of the system, by number of node."""
    toolsets: Mapping[str, int]
    """The targets of tool sets."""
    paths: Mapping[int, KeyPath]
    """The keys that asked for nodes of the system."""
    memory: Memory

    def encode(self) -> bytes:
        """As bytes, for this machine."""
        memory = self.memory
        remembered = (memory.units, memory.rule_toolsets, memory.toolset_nodes, memory.tried, memory.runtime)
        files = {file: (*said[:1], tuple(said.directives), *said[2:]) for file, said in self.files.items()}
        head = self.base, files, self.overridden, dict(self.locals), self.lock, pickle.dumps(self.reads, protocol=5)
        numbers = {part.value: number for part, number in self.system.items()}, dict(self.toolsets), dict(self.paths)
        return marshal.dumps((*head, *numbers, remembered))

    @classmethod
    def decode(cls, data: bytes) -> State:
        """The inverse."""
        base, files, overridden, local, lock, reads, system, toolsets, paths, remembered = marshal.loads(data)
        said = {file: Said(rank, Directives(*told), *more) for file, (rank, told, *more) in files.items()}
        parts = {SystemPart(name): number for name, number in system.items()}
        return cls(
            base, said, overridden, local, lock, pickle.loads(reads), parts, toolsets, paths, Memory(*remembered)
        )


def said(rank: int, directives: Directives, entries: Iterable[Entry]) -> Said:
    """What a file says that has these entries."""
    names: list[str] = []
    needed: set[str] = set()
    rest = []
    for path, strength, _source, at, fields in entries:
        if path[0] != "packages":
            rest.append((path, strength, at, fields))
            continue
        names.append(path[1])  # type: ignore[arg-type]
        for key in DEPENDENCY_KEYS:
            if key in fields:
                needed.update(fields[key])  # type: ignore[arg-type]
    digest = blake3(repr(rest).encode(errors="surrogateescape")).digest()
    return Said(rank, directives, digest, tuple(names), tuple(needed))


def kept_texts(texts: Mapping[str, str], secret: Collection[str]) -> dict[str, str]:
    """The texts of files that may be remembered: of none in ``secret``, and of none that looks like one of these.

    A file that is edited and has no text here is read as a whole.
    """
    return {
        file: text
        for file, text in texts.items()
        if file not in secret and not any(key in text for key in SECRET_KEYS) and not secrets_in(text)
    }


SECRET_KEYS = tuple(key for section in SECTIONS for key, setting in section.settings.items() if setting.secret)


def files_with_secrets(origins: Origins) -> set[str]:
    """The files that set something secret."""
    return {
        str(source.path)
        for source in origins.sources
        if any(
            isinstance(value, Secret)
            for entry in source.entries
            if entry.path[0] != "packages"
            for value in entry.fields.values()
        )
    }


def named_files(config: Config) -> Iterator[tuple[str, str]]:
    """The user's files that packages name: package and file."""
    for local, at, _ in local_paths(config):
        if at[0] == "packages":
            yield str(at[1]), str(local.path)


def state_of(
    config: Config,
    origins: Origins,
    lock: str,
    made: Instantiator,
) -> State:
    """The state of an evaluation of ``config``, whose graph was ``made``."""
    files = {}
    overridden: set[str] = set()
    for source in sorted(origins.sources, key=lambda each: each.turn):
        if source.directives is None:
            overridden.update(str(entry.path[1]) for entry in source.entries if entry.path[0] == "packages")
        else:
            files[str(source.path)] = said(source.rank, source.directives, source.entries)
    local: dict[str, tuple[str, ...]] = {}
    for name, file in named_files(config):
        local[file] = (*local.get(file, ()), name)
    assert made.reads is not None
    base = pickle.dumps(replace(config, packages={}, place=nowhere))
    return State(
        base,
        files,
        frozenset(overridden),
        local,
        lock,
        made.reads,
        made.system,
        made.toolsets,
        made.paths,
        made.memory(),
    )
