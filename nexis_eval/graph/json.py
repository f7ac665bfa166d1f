"""Derivations and graphs as JSON values: what ``show-derivation --json`` prints and build records keep. Pure.

The format is documented in ``docs/formats/derivation.md``; ids and digests are hexadecimal strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexis_eval.graph.builders import BUILDERS
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Input, Use
from nexis_eval.graph.target import Targets
from nexis_store.digest import DerivationId

FORMAT = 1


def derivation_to_json(derivation: Derivation) -> dict[str, Any]:
    """A derivation as plain JSON values."""
    return {
        "name": derivation.name,
        "version": derivation.version,
        "platform": derivation.platform,
        "build_platform": derivation.build_platform,
        "builder": derivation.builder.to_json(),
        "inputs": [
            {
                "derivation": str(each.derivation),
                "output": each.output,
                "use": str(each.use),
                "at": each.at,
                "subdir": each.subdir,
            }
            for each in derivation.inputs
        ],
        "outputs": list(derivation.outputs),
        "runtime": [str(each) for each in derivation.runtime],
        "propagates": [str(each) for each in derivation.propagates],
    }


def derivation_from_json(value: Mapping[str, Any]) -> Derivation:
    """The inverse of ``derivation_to_json``; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
    kind = value["builder"]["kind"]
    if kind not in BUILDERS:
        raise ValueError(f"unknown kind of step {kind!r}")
    return Derivation(
        name=value["name"],
        version=value["version"],
        platform=value["platform"],
        build_platform=value["build_platform"],
        builder=BUILDERS[kind].from_json(value["builder"]),
        inputs=tuple(
            Input(DerivationId.parse(each["derivation"]), Use(each["use"]), each["at"], each["output"], each["subdir"])
            for each in value["inputs"]
        ),
        outputs=tuple(value["outputs"]),
        runtime=tuple(DerivationId.parse(each) for each in value["runtime"]),
        # Records of systems that were built before there were closures have none.
        propagates=tuple(DerivationId.parse(each) for each in value.get("propagates", ())),
    )


def graph_to_json(
    graph: DerivationGraph, derivations: Mapping[DerivationId, Derivation] | None = None
) -> dict[str, Any]:
    """A graph, or the part of it given as ``derivations``, as plain JSON values, inputs before their users."""
    chosen = graph.derivations if derivations is None else derivations
    return {
        "format": FORMAT,
        "targets": {name: str(identity) for name, identity in graph.targets.within(chosen).by_name().items()},
        "derivations": {str(each): derivation_to_json(derivation) for each, derivation in chosen.items()},
    }


def graph_from_json(value: Mapping[str, Any]) -> DerivationGraph:
    """The inverse of ``graph_to_json`` (origins are not kept); raises as ``derivation_from_json`` does."""
    if value["format"] != FORMAT:
        raise ValueError(f"unknown graph format {value['format']}")
    return DerivationGraph(
        {DerivationId.parse(each): derivation_from_json(item) for each, item in value["derivations"].items()},
        Targets.of_names({name: DerivationId.parse(each) for name, each in value["targets"].items()}),
    )
