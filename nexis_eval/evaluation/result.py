"""What a configuration evaluates to, and the part of it that is remembered as a summary."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from nexis_eval.graph.target import SystemPart, Targets
from nexis_store.digest import DIGEST_SIZE, DerivationId

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.graph.dag import DerivationGraph
    from nexis_eval.lock.model import Lock

    Pin = Callable[[Config], Lock]
    """Pins what the lock lacks, and gives the lock that has it."""

SUMMARY, GRAPH, STATE, TEXTS = range(4)
"""The parts of what is remembered of an evaluation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What an evaluation says about a system; its graph is the other part."""

    arch: str
    system: str
    """The name under which builds of this system are remembered: its host name."""
    store_profile: str
    """``store.profile`` of the configuration: which backend a new store gets."""
    mirrors: Mapping[str, tuple[str, ...]]
    targets: Targets
    idle: tuple[str, ...]
    """The keys that the configuration sets and that have no effect yet."""

    def encode(self) -> bytes:
        """Return it as bytes for this machine."""
        targets = [_flat(kind) for kind in (self.targets.packages, self.targets.system, self.targets.toolsets)]
        return marshal.dumps((self.arch, self.system, self.store_profile, dict(self.mirrors), targets, self.idle))

    @classmethod
    def decode(cls, data: bytes, *, with_targets: bool = True) -> Summary:
        """Return the summary that ``data`` encodes; without its targets, which take longest, if nobody reads them."""
        arch, system, store_profile, mirrors, flat, idle = marshal.loads(data)
        targets = Targets()
        if with_targets:
            packages, parts, toolsets = (_ids(*kind) for kind in flat)
            targets = Targets(packages, {SystemPart(name): identity for name, identity in parts.items()}, toolsets)
        return cls(arch, system, store_profile, mirrors, targets, idle)


@dataclass(frozen=True)
class Evaluation:
    """What a configuration evaluates to. The graph is made when it is first needed: a no-op build never does."""

    summary: Summary
    make_graph: Callable[[], DerivationGraph]

    @cached_property
    def graph(self) -> DerivationGraph:
        """The derivation graph."""
        return self.make_graph()


def _flat(ids: Mapping[str, DerivationId] | Mapping[SystemPart, DerivationId]) -> tuple[str, bytes]:
    return "\n".join(ids), b"".join(ids.values())


def _ids(names: str, ids: bytes) -> dict[str, DerivationId]:
    slices = [ids[start : start + DIGEST_SIZE] for start in range(0, len(ids), DIGEST_SIZE)]
    # Without the check of each length, which takes as long as all the rest.
    digests = map(partial(bytes.__new__, DerivationId), slices)
    return dict(zip(names.split("\n"), digests, strict=True)) if slices else {}
