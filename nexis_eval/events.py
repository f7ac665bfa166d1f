"""What the engine tells while it works: typed values that a user interface renders. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from nexis_store.digest import DerivationId, TreeDigest


@dataclass(frozen=True, slots=True)
class PlanReady:
    """The walk begins: how many steps there are and how many are already known to be done."""

    total: int
    done: int


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A fetch, an unpacking, a build began. ``kind`` is the builder's; ``why`` says what made it necessary."""

    derivation: DerivationId
    label: str
    kind: str
    platform: str
    why: tuple[str, ...] = ()
    expected_ns: int | None = None


@dataclass(frozen=True, slots=True)
class StepPhase:
    """A running build entered a phase."""

    derivation: DerivationId
    phase: str


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Bytes of a running download; ``total`` where the server told it."""

    derivation: DerivationId
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step succeeded. ``unchanged``: it ran and came out as before, so what depends on it is cut off."""

    derivation: DerivationId
    label: str
    kind: str
    duration_ns: int
    outputs: dict[str, TreeDigest] = field(default_factory=dict)
    unchanged: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepCached:
    """Nothing to do: the store has the realisation. ``cut_off``: the recipe changed, its inputs came out the same."""

    derivation: DerivationId
    label: str
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed; ``blocked`` are the labels of what cannot be built now."""

    derivation: DerivationId
    label: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    log_path: str = ""
    phase: str = ""
    duration_ns: int = 0
    blocked: tuple[str, ...] = ()
    replaced: bool = False
    """Something else stands in for it (a source build for a vendor's binary): the run goes on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run."""

    built: int
    fetched: int
    cached: int
    cut_off: int
    failed: int
    duration_ns: int


Event = PlanReady | StepStarted | StepPhase | StepProgress | StepFinished | StepCached | StepFailed | Finished
