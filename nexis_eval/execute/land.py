"""From what a build left in its ``/out`` to artifacts: the same step for a first build and for one that checks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nexis_eval.derivation import Derivation, Script
from nexis_store.digest import TreeDigest
from nexis_store.store import Store
from nexis_store.tree import Attributes


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
    attributes = {
        item.path.lstrip("/"): Attributes(mode=item.mode, owner=item.owner, group=item.group)
        for item in script.attributes
    }
    several = len(derivation.outputs) > 1
    outputs: dict[str, TreeDigest] = {}
    for output in derivation.outputs:
        artifact = store.add_directory(
            directory / "out" / output if several else directory / "out",
            derivation.name if output == "out" else f"{derivation.name}-{output}",
            attributes=attributes,
            normalise=script.normalise,
            references=references,
            move=move,
        )
        outputs[output] = artifact.digest
    return outputs
