"""Paths that several packages of a system have: told together, as soon as the lists of files are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.derivation import PACKAGES, Derivation, Script, Union
from nexis_eval.schedule.plan import Plan
from nexis_store.digest import DerivationId
from nexis_store.errors import Contested, NexisError, PathConflictError
from nexis_store.store import Store


class ContestedPathsError(NexisError):
    """Several packages of the system have a path, and nothing says which one wins.

    The message lists all such paths as a table for the configuration, in which the last of the owners wins::

        [conflicts]
        "/usr/bin/vi" = "vim"  # or "busybox"

    Correct the winners. A directory stands for all that lies below it, and of several entries the longest one that fits
    decides. A package that only helps to build others needs no winners: ``install = false`` keeps it out of the system.
    """

    code = "B0005"
    exit_code = 2

    def __init__(self, contested: Sequence[Contested]) -> None:
        owners = sorted({owner for each in contested for owner in each.owners})
        paths = "1 path is" if len(contested) == 1 else f"{len(contested)} paths are"
        table = "\n".join(["[conflicts]", *map(_line, contested)])
        super().__init__(
            f"{paths} in more than one of {', '.join(owners)}. This table lets the last owner win:\n\n{table}\n",
            hint="paste the table into the configuration and correct the winners; one line for a directory decides for "
            "all below it",
        )


def _line(contested: Contested) -> str:
    *others, last = (json.dumps(each, ensure_ascii=False) for each in contested.owners)
    return f"{json.dumps('/' + contested.path, ensure_ascii=False)} = {last}  # or {', '.join(others)}"


def contested_error(derivation: Derivation, error: PathConflictError) -> NexisError:
    """What to tell of paths that several inputs of a union have: ``[conflicts]`` decides between packages."""
    if derivation.name == PACKAGES:
        return ContestedPathsError(error.contested)
    if isinstance(derivation.builder, Union) and derivation.builder.later_wins:
        error.hint = "one has a directory there, which the file of the other would replace: give the file another path"
        return error
    error.hint = "leave one of them out of 'debian', or write debian_closure = false and list what is wanted"
    return error


class ConflictWatch:
    """Looks for contested paths before a union is made: once those of its inputs are there that nobody has to build.

    So what only needs unpacking is told before hours of building, and all of it at once.
    """

    def __init__(self, store: Store, plan: Plan, name: Callable[[DerivationId], str]) -> None:
        self._store = store
        self._name = name
        self._pending = plan.pending
        self._awaited: dict[DerivationId, set[DerivationId]] = {}
        built = _built(plan)
        for each, derivation in plan.pending.items():
            if isinstance(derivation.builder, Union) and not derivation.builder.later_wins:
                parts = {item.derivation for item in derivation.inputs} - built
                # With no other inputs it is made at once, and tells its conflicts itself.
                if len(parts) > 1 and len(parts) < len(derivation.inputs):
                    self._awaited[each] = parts & plan.pending.keys()

    def ready(self, finished: DerivationId | None = None) -> list[DerivationId]:
        """The unions to look at now that a step has ``finished``; without one, before the first has begun."""
        found = []
        for union, awaited in list(self._awaited.items()):
            if finished is None or finished in awaited:
                awaited.discard(finished or union)
                if not awaited:
                    del self._awaited[union]
                    found.append(union)
        return found

    def look(self, union: DerivationId, outputs: Mapping[DerivationId, Outputs]) -> NexisError | None:
        """What is contested among the inputs of a union that are there."""
        derivation = self._pending[union]
        builder = derivation.builder
        assert isinstance(builder, Union)
        parts = [
            (self._name(item.derivation), outputs[item.derivation][item.output])
            for item in derivation.inputs
            if item.derivation in outputs and self._store.is_present(outputs[item.derivation][item.output])
        ]
        contested = self._store.contested(parts, winners=builder.winners, exclude=builder.exclude)
        if not contested:
            return None
        return contested_error(derivation, PathConflictError(derivation.name, contested))


def _built(plan: Plan) -> set[DerivationId]:
    """The pending steps that need a build, or are one."""
    built: set[DerivationId] = set()
    # Inputs come first.
    for each, derivation in plan.pending.items():
        if isinstance(derivation.builder, Script) or not built.isdisjoint(plan.needs(derivation)):
            built.add(each)
    return built
