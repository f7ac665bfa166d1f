"""The record of a build (``docs/formats/record.md``): all that is needed to compare it with another's, or to repeat it.

What must be equal on two machines (graph, build keys, tree digests, listings) is kept apart from what merely tells how
it came about (``environment``), which no comparison looks at. Encoding is pure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import BUILD_KEY_DOMAIN
from nexis_eval.graph.encoding import DOMAIN as DERIVATION_DOMAIN
from nexis_eval.graph.json import graph_from_json, graph_to_json
from nexis_eval.graph.target import parse_target
from nexis_store.binary_cache import expand
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import DamagedStoreError, NexisError
from nexis_store.tree import DIRECTORY_DOMAIN, Manifest

KIND, VERSION = "nexis record", 2
FORMAT = f"{KIND} {VERSION}"
ENCODINGS: Mapping[str, int] = {
    "build key": BUILD_KEY_DOMAIN[-1],
    "derivation": DERIVATION_DOMAIN[-1],
    "tree": DIRECTORY_DOMAIN[-1],
}
"""Versions of the encodings that ids and digests are hashes of: where they differ, nothing can be compared."""


class RecordError(NexisError):
    """A file that should be a record is not one, or of an unknown version.

    ``nexis-eval repro record`` writes records. One of another version is compared by the version that wrote it, or
    recorded again.
    """

    code = "R0003"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one derivation."""

    key: BuildKey
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One build of one system. ``graph`` holds what the recorded targets need, inputs first."""

    system: str
    arch: str
    graph: DerivationGraph
    steps: Mapping[DerivationId, Step]
    manifests: Mapping[TreeDigest, Manifest] = field(default_factory=dict)
    """The listings of what scripts made, so that a difference can be told by file without either tree."""
    locals: Mapping[TreeDigest, Mapping[str, bytes]] = field(default_factory=dict)
    """The user's own files that the graph refers to: manifest under ``""``, contents by path."""
    environment: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The configuration's own mirror sets, so that a rebuild finds its sources."""
    roots: tuple[str, ...] = ()
    """The targets that were recorded."""


def encode_record(record: BuildRecord) -> str:
    """The record as JSON text; the same record gives the same text."""
    graph = graph_to_json(record.graph)
    value = {
        "format": FORMAT,
        "encodings": dict(ENCODINGS),
        "system": record.system,
        "arch": record.arch,
        "roots": list(record.roots),
        "graph": graph,
        "order": list(graph["derivations"]),
        "steps": {
            str(each): {
                "key": str(step.key),
                "outputs": {name: str(digest) for name, digest in sorted(step.outputs.items())},
            }
            for each, step in record.steps.items()
        },
        "manifests": {str(digest): _pack(manifest.encode()) for digest, manifest in record.manifests.items()},
        "locals": {
            str(digest): {path: _pack(data) for path, data in files.items()} for digest, files in record.locals.items()
        },
        "environment": dict(record.environment),
        "mirrors": {name: list(urls) for name, urls in record.mirrors.items()},
    }
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def decode_record(text: str, name: str = "the record") -> BuildRecord:
    """The inverse; raises ``RecordError`` for anything else. Listings are proved against their digests."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{name} is no JSON: {error}", hint="copy it again if it was cut short, or record the build again"
        ) from None
    if not isinstance(value, dict) or not str(value.get("format")).startswith(f"{KIND} "):
        raise RecordError(f"{name} is no record", hint="'nexis-eval repro record' writes records")
    _check_versions(value, name)
    try:
        return _decode(value)
    except KeyError as error:
        raise RecordError(f"{name} is damaged: it lacks {error}", hint="record the build again") from None
    except (ValueError, TypeError, AttributeError, RecursionError, DamagedStoreError) as error:
        raise RecordError(f"{name} is damaged: {error}", hint="record the build again") from None


def _check_versions(value: Mapping[str, Any], name: str) -> None:
    """Raise ``RecordError`` if another version of this program made the record, and say what can be done."""
    found = str(value["format"]).removeprefix(f"{KIND} ")
    encodings = value.get("encodings")
    theirs = encodings if isinstance(encodings, dict) else {}
    pairs = [("it is a record of version", found, VERSION)]
    if found == str(VERSION):
        pairs = [(f"its {each} encoding has version", str(theirs.get(each)), mine) for each, mine in ENCODINGS.items()]
    for what, other, mine in pairs:
        if other == str(mine):
            continue
        is_newer = other.isdecimal() and int(other) > mine
        environment = value.get("environment")
        engine = environment.get("engine") if isinstance(environment, dict) else None
        maker = f"the version that made it ({engine})" if engine else "the version that made it"
        raise RecordError(
            f"{name} was made by {'a newer' if is_newer else 'an older'} version of this program: "
            f"{what} {other}, this program reads {mine}",
            hint=f"update this program to {maker}, or have the build recorded by this one"
            if is_newer
            else f"record the build again with this program, or use {maker}",
        )


def _decode(value: Mapping[str, Any]) -> BuildRecord:
    derivations = value["graph"]["derivations"]
    if sorted(value["order"]) != sorted(derivations):
        raise ValueError("the order does not list the derivations")
    ordered = {**value["graph"], "derivations": {each: derivations[each] for each in value["order"]}}
    manifests = {}
    for text, packed in value["manifests"].items():
        digest = TreeDigest.parse(text)
        manifests[digest] = Manifest.decode(_unpack(packed), digest)
    graph = graph_from_json(ordered)
    lacking = len(graph.closure([graph.targets[parse_target(name)] for name in value["roots"]])) - len(value["steps"])
    if lacking > 0:
        raise ValueError(f"it does not say what {lacking} of its steps came out as")
    return BuildRecord(
        system=value["system"],
        arch=value["arch"],
        graph=graph,
        steps={
            DerivationId.parse(each): Step(
                BuildKey.parse(step["key"]),
                {name: TreeDigest.parse(digest) for name, digest in step["outputs"].items()},
            )
            for each, step in value["steps"].items()
        },
        manifests=manifests,
        locals={
            TreeDigest.parse(digest): {path: _unpack(packed) for path, packed in files.items()}
            for digest, files in value["locals"].items()
        },
        environment=value["environment"],
        mirrors={name: tuple(urls) for name, urls in value["mirrors"].items()},
        roots=tuple(value["roots"]),
    )


def _pack(data: bytes) -> str:
    import zstandard

    return base64.b64encode(zstandard.ZstdCompressor(level=9, write_content_size=True).compress(data)).decode()


_LARGEST = 1 << 28


def _unpack(text: str) -> bytes:
    data = expand(base64.b64decode(text, validate=True), _LARGEST)
    if data is None:
        raise ValueError(f"it is damaged, or has more than {_LARGEST} bytes")
    return data
