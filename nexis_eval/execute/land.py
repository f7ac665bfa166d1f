"""From what an action left in its ``/out`` to trees: the same step for a first build and for one that checks it."""

from __future__ import annotations

import os
from pathlib import Path

from nexis_eval.execute.action import Action
from nexis_store.digest import TreeDigest
from nexis_store.store import Store
from nexis_store.together import Part
from nexis_store.tree import Attributes


def prepare(store: Store, action: Action, directory: Path) -> dict[str, Part]:
    """Write and hash every output of the action staged in ``directory``; return them by output, to be recorded.

    It takes the files themselves, so ``directory`` must be on the store's file system.
    """
    attributes = _attributes(action, directory)
    outputs: dict[str, Part] = {}
    try:
        for output in action.outputs:
            outputs[output.name] = store.prepare_directory(
                directory / "out" / output.path,
                output.tree_name,
                attributes=attributes[output.name],
                normalise=action.normalise,
            )
    except BaseException:
        for part in outputs.values():
            part.close()
        raise
    return outputs


def land(store: Store, action: Action, directory: Path, *, move: bool = True) -> dict[str, TreeDigest]:
    """Take every output of the action staged in ``directory`` into ``store``; return their digests by output.

    ``move`` may take the files themselves, which needs ``directory`` to be on the store's file system.
    """
    attributes = _attributes(action, directory)
    return {
        output.name: store.add_directory(
            directory / "out" / output.path,
            output.tree_name,
            attributes=attributes[output.name],
            normalise=action.normalise,
            move=move,
        ).digest
        for output in action.outputs
    }


def _attributes(action: Action, directory: Path) -> dict[str, dict[str, Attributes]]:
    """Return by output what is declared for its paths; what no output has is declared for the first, which says so."""
    places = {output.name: directory / "out" / output.path for output in action.outputs}
    declared: dict[str, dict[str, Attributes]] = {name: {} for name in places}
    for path, attributes in action.attributes:
        owners = [name for name, place in places.items() if os.path.lexists(place / path)]
        for name in owners or [action.outputs[0].name]:
            declared[name][path] = attributes
    return declared
