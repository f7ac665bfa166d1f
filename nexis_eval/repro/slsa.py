"""A record as an in-toto Statement v1 with a SLSA provenance v1 predicate. Pure.

Formats: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from nexis_eval.repro.record import BuildRecord

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:nexisos:build:1"
BUILDER = "urn:nexisos:nexis-eval"


def statement(
    record: BuildRecord, files: Mapping[str, str], record_sha256: str, span_ns: tuple[int, int] | None = None
) -> str:
    """The statement as JSON. ``files`` maps the names of the recorded targets' files to their SHA-256 in hex.

    ``span_ns`` tells when the first step began and the last one ended, in nanoseconds since the epoch, where known.
    """
    value = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(files.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "system": record.system,
                    "architecture": record.arch,
                    "targets": list(record.roots),
                },
                "internalParameters": {
                    "derivations": {
                        name: str(identity) for name in record.roots if (identity := record.graph.targets.named(name))
                    }
                },
                "resolvedDependencies": list(_dependencies(record)),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"nexis-eval": record.environment.get("engine", "")}},
                "metadata": _metadata(span_ns),
                "byproducts": [{"name": "record.json", "digest": {"sha256": record_sha256}}],
            },
        },
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _metadata(span_ns: tuple[int, int] | None) -> dict[str, str]:
    if span_ns is None:
        return {}
    started, finished = (datetime.fromtimestamp(each // 1_000_000_000, UTC).isoformat() for each in span_ns)
    return {"startedOn": started.replace("+00:00", "Z"), "finishedOn": finished.replace("+00:00", "Z")}


def _dependencies(record: BuildRecord) -> Iterator[dict[str, Any]]:
    """Everything that came from outside: downloads, commits, the user's own files."""
    for each, derivation in record.graph.derivations.items():
        material = derivation.builder.material(derivation.label)
        if each not in record.steps or material is None:
            continue
        uri = {"uri": material.uri} if material.uri else {}
        yield {"name": material.name, **uri, "digest": {material.algorithm: material.digest}}
