"""From what a build left in its ``/out`` to artifacts: the same step for a first build and for one that checks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nexis_eval.graph.derivation import Derivation, Script
from nexis_store.digest import TreeDigest
from nexis_store.store import Store
from nexis_store.together import Part
from nexis_store.tree import Attributes


def prepare(
    store: Store, derivation: Derivation, script: Script, directory: Path, references: Sequence[TreeDigest]
) -> dict[str, Part]:
    """Write and hash every output of the build staged in ``directory``; returns them by output, to be committed.

    It takes the files themselves, so ``directory`` must be on the store's file system.
    """
    outputs: dict[str, Part] = {}
    try:
        for output, place in _places(derivation, directory).items():
            outputs[output] = store.prepare_directory(
                place,
                _name(derivation, output),
                attributes=_attributes(script),
                normalise=script.normalise,
                references=references,
            )
    except BaseException:
        for each in outputs.values():
            each.close()
        raise
    return outputs


def land(
    store: Store,
    derivation: Derivation,
    script: Script,
    directory: Path,
    references: Sequence[TreeDigest],
    *,
    move: bool = True,
) -> dict[str, TreeDigest]:
    """Take every output of the build staged in ``directory`` into ``store``; returns their digests by output.

    ``move`` may take the files themselves, which needs ``directory`` to be on the store's file system.
    """
    return {
        output: store.add_directory(
            place,
            _name(derivation, output),
            attributes=_attributes(script),
            normalise=script.normalise,
            references=references,
            move=move,
        ).digest
        for output, place in _places(derivation, directory).items()
    }


def _places(derivation: Derivation, directory: Path) -> dict[str, Path]:
    several = len(derivation.outputs) > 1
    return {output: directory / "out" / output if several else directory / "out" for output in derivation.outputs}


def _name(derivation: Derivation, output: str) -> str:
    return derivation.name if output == "out" else f"{derivation.name}-{output}"


def _attributes(script: Script) -> dict[str, Attributes]:
    return {
        item.path.lstrip("/"): Attributes(mode=item.mode, owner=item.owner, group=item.group)
        for item in script.attributes
    }
