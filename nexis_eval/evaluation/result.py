"""What a configuration evaluates to, and the part of it that is remembered as a summary."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

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


@dataclass(frozen=True)
class Evaluation:
    """What a configuration evaluates to. The graph is made when it is first needed: a no-op build never does."""

    arch: str
    system: str
    """The name under which builds of this system are remembered: its host name."""
    mirrors: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, DerivationId]
    idle: tuple[str, ...]
    """The keys that the configuration sets and that have no effect yet."""
    make_graph: Callable[[], DerivationGraph]

    @cached_property
    def graph(self) -> DerivationGraph:
        """The derivation graph."""
        return self.make_graph()


def encode_summary(
    arch: str,
    system: str,
    mirrors: Mapping[str, tuple[str, ...]],
    targets: Mapping[str, DerivationId],
    idle: tuple[str, ...],
) -> bytes:
    """An evaluation without its graph, as bytes for this machine."""
    return marshal.dumps((arch, system, dict(mirrors), "\n".join(targets), b"".join(targets.values()), idle))


def decode_summary(
    data: bytes,
) -> tuple[str, str, Mapping[str, tuple[str, ...]], dict[str, DerivationId], tuple[str, ...]]:
    """The inverse of ``encode_summary``."""
    arch, system, mirrors, names, ids, idle = marshal.loads(data)
    slices = [ids[start : start + DIGEST_SIZE] for start in range(0, len(ids), DIGEST_SIZE)]
    # Without the check of each length, which takes as long as all the rest.
    each = map(partial(bytes.__new__, DerivationId), slices)
    return arch, system, mirrors, dict(zip(names.split("\n"), each, strict=True)) if slices else {}, idle


def decode_head(data: bytes) -> tuple[str, str, Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """The same without the targets."""
    arch, system, mirrors, _, _, idle = marshal.loads(data)
    return arch, system, mirrors, idle
