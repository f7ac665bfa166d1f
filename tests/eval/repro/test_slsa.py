"""Provenance: an in-toto Statement v1 with a SLSA provenance v1 predicate, as their specifications have it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Derivation, Fetch, FetchGit
from nexis_eval.repro.record import BuildRecord, Step, decode_record
from nexis_eval.repro.slsa import statement
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.store import Store
from tests.eval.repro.test_cli import repro
from tests.eval.repro.test_record import built, system

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
DIGESTS = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "sha256": {"pattern": "^[0-9a-f]{64}$"},
        "sha512": {"pattern": "^[0-9a-f]{128}$"},
        "blake3": {"pattern": "^[0-9a-f]{64}$"},
        "gitCommit": {"pattern": "^[0-9a-f]{40}$"},
        "nexisTree": {"pattern": "^[0-9a-f]{64}$"},
    },
    "additionalProperties": False,
}
RESOURCE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "uri": {"pattern": r"^[a-z][a-z0-9+.-]*:"}, "digest": DIGESTS},
    "anyOf": [{"required": ["uri"]}, {"required": ["digest"]}],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "additionalProperties": False,
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "predicateType": {"const": "https://slsa.dev/provenance/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "items": {**RESOURCE, "required": ["name", "digest"]},
        },
        "predicate": {
            "type": "object",
            "required": ["buildDefinition", "runDetails"],
            "additionalProperties": False,
            "properties": {
                "buildDefinition": {
                    "type": "object",
                    "required": ["buildType", "externalParameters", "resolvedDependencies"],
                    "additionalProperties": False,
                    "properties": {
                        "buildType": {"pattern": r"^[a-z][a-z0-9+.-]*:"},
                        "externalParameters": {"type": "object", "minProperties": 1},
                        "internalParameters": {"type": "object"},
                        "resolvedDependencies": {"type": "array", "items": RESOURCE},
                    },
                },
                "runDetails": {
                    "type": "object",
                    "required": ["builder"],
                    "additionalProperties": False,
                    "properties": {
                        "builder": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {
                                "id": {"pattern": r"^[a-z][a-z0-9+.-]*:"},
                                "version": {"type": "object", "additionalProperties": {"type": "string"}},
                            },
                        },
                        "metadata": {
                            "type": "object",
                            "properties": {"startedOn": {"pattern": TIME}, "finishedOn": {"pattern": TIME}},
                            "additionalProperties": False,
                        },
                        "byproducts": {"type": "array", "items": RESOURCE},
                    },
                },
            },
        },
    },
}


@pytest.fixture
def record(tmp_path: Path) -> BuildRecord:
    hook = tmp_path / "hook.sh"
    hook.write_text("echo hook\n")
    with Store.open(tmp_path / "store") as store:
        return built(store, system(hook))


def test_every_kind_of_source_is_a_dependency(record: BuildRecord) -> None:
    sources = {
        DerivationId(bytes([number]) * 32): Derivation(f"source{number}", builder, "x86_64")
        for number, builder in enumerate(
            (
                Fetch(
                    ("mirror://debian/pool/z/z.tar.gz", "https://example.org/z.tar.gz"), "sha256", "ab" * 32, "z.tar"
                ),
                Fetch(("https://example.org/y.zip",), "sha512", "cd" * 64, "y.zip"),
                FetchGit(("https://example.org/x.git",), "0123456789" * 4, TreeDigest(bytes(32))),
            )
        )
    }
    unused = {
        DerivationId(bytes([9]) * 32): Derivation(
            "unused", Fetch(("https://e.org/u",), "sha256", "0" * 64, "u"), "x86_64"
        )
    }
    graph = DerivationGraph({**sources, **unused, **record.graph.derivations}, record.graph.targets)
    step = Step(BuildKey(bytes(32)), {"out": TreeDigest(bytes(32))})
    whole = BuildRecord("demo", "x86_64", graph, {**dict.fromkeys(sources, step), **record.steps}, roots=("images",))
    value = json.loads(
        statement(whole, {"a.iso": "ef" * 32}, "01" * 32, (1_700_000_000_000_000_000, 1_700_000_009_000_000_000))
    )
    jsonschema.validate(value, SCHEMA)
    definition, details = value["predicate"]["buildDefinition"], value["predicate"]["runDetails"]
    assert [each["name"] for each in definition["resolvedDependencies"]] == ["z.tar", "y.zip", "source2", "hook"]
    assert definition["internalParameters"]["derivations"] == {"images": str(graph.targets.system["images"])}
    assert details["metadata"] == {"startedOn": "2023-11-14T22:13:20Z", "finishedOn": "2023-11-14T22:13:29Z"}


def test_the_schema_refuses_what_is_incomplete(record: BuildRecord) -> None:
    good = json.loads(statement(record, {"a.iso": "ef" * 32}, "01" * 32))
    jsonschema.validate(good, SCHEMA)
    for path in (
        ("subject",),
        ("predicate", "runDetails", "builder", "id"),
        ("predicate", "buildDefinition", "buildType"),
    ):
        bad = json.loads(json.dumps(good))
        inner = bad
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)


@pytest.mark.slow
def test_recorded_and_signed_by_the_command(tmp_path: Path) -> None:
    """Of a real package: what the statement says about files and record is true, and both signatures hold."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "signers").write_text(f"ann@example.org {(tmp_path / 'key.pub').read_text()}")
    record, provenance = tmp_path / "record.json", tmp_path / "provenance.json"
    done = repro(
        "record", "examples/minimal", "argon2", "-o", record, "--provenance", provenance, "--sign", key,
        store=tmp_path / "store",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(provenance.read_text())
    jsonschema.validate(value, SCHEMA)
    details = value["predicate"]["runDetails"]
    assert details["byproducts"][0]["digest"]["sha256"] == hashlib.sha256(record.read_bytes()).hexdigest()
    assert details["metadata"]["startedOn"] <= details["metadata"]["finishedOn"]
    decoded = decode_record(record.read_text())
    root = decoded.steps[decoded.graph.targets.packages["argon2"]].outputs["out"]
    with Store.open(tmp_path / "store", readonly=True) as store:
        for each in value["subject"]:
            content = (store.path(root) / each["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == each["digest"]["sha256"]
    for path in (record, provenance):
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            tmp_path / "signers",
            "-I",
            "ann@example.org",
            "-n",
            "nexis-record",
        ]
        subprocess.run([*command, "-s", f"{path}.sig"], input=path.read_bytes(), check=True, capture_output=True)
    assert repro("diff", record, record, "--signers", tmp_path / "signers", store=tmp_path / "store").returncode == 0
