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
    """A fetch, an unpacking, a build began. ``kind`` is the builder's; ``needs`` is what it was made from."""

    derivation: DerivationId
    label: str
    kind: str
    platform: str
    expected_ns: int | None = None
    needs: tuple[DerivationId, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long the rest will take, by what earlier builds took; ``known`` is how much of that is more than a guess."""

    left_ns: int
    known: float


@dataclass(frozen=True, slots=True)
class StepLog:
    """The file into which a running build writes. It is gone when the build has ended; who has it open can read on."""

    derivation: DerivationId
    path: str


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
class ResultCopied:
    """A result that a source of trees has was brought into the store, because a step or the user reads it."""

    derivation: DerivationId
    label: str
    source: str
    duration_ns: int


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed; ``blocked`` are the labels of what cannot be built now."""

    derivation: DerivationId
    label: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    command: str = ""
    """The command that failed, where the script told it."""
    phase: str = ""
    duration_ns: int = 0
    blocked: tuple[str, ...] = ()
    replaced: bool = False
    """Something else stands in for it (a source build for a vendor's binary): the run goes on."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person should know, and that changes no result."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run."""

    built: int
    fetched: int
    cached: int
    cut_off: int
    failed: int
    duration_ns: int
    longest_chain: tuple[tuple[str, int], ...] = ()
    """(label, ns) of the steps that waited for each other and so decided how long it took, first one first."""
    spent: tuple[tuple[str, int], ...] = ()
    """(phase or kind of step, ns) summed over all steps, most first."""
    failures: tuple[str, ...] = ()
    """Labels of what failed."""
    blocked: tuple[str, ...] = ()
    """Labels of what could not be built because of that."""
    left: int = 0
    """How many other steps were not done because the run ended with the first failure."""
    copied: int = 0
    """How many results came from sources of trees."""


Event = (
    PlanReady
    | Estimate
    | StepStarted
    | StepLog
    | StepPhase
    | StepProgress
    | StepFinished
    | StepCached
    | ResultCopied
    | StepFailed
    | Warned
    | Finished
)
