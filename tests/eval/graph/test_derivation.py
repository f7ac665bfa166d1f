"""The identities: golden values, sensitivity to every field, and the JSON form."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import (
    Attribute,
    Choice,
    Derivation,
    Entry,
    Fetch,
    FetchGit,
    Files,
    Input,
    Local,
    Script,
    Stored,
    Union,
    Unpack,
    Use,
    build_key,
)
from nexis_eval.graph.encoding import derivation_id
from nexis_eval.graph.json import derivation_from_json, derivation_to_json, graph_from_json, graph_to_json
from nexis_store.digest import DerivationId, Digest, TreeDigest, encode_fields
from tests.eval.graphs import leaf, random_graphs, union

TREE = TreeDigest.of(b"tree")
SAMPLES = {
    "fetch": Derivation("zlib-source", Fetch(("mirror://m/z.tar",), "sha256", "ab" * 32, "z.tar", 12), "x86_64"),
    "git": Derivation("vim-source", FetchGit(("https://example.org/vim.git",), "c" * 40, TREE), "x86_64"),
    "local": Derivation("a.patch", Local("/home/me/a.patch", TREE), "x86_64"),
    "files": Derivation("etc", Files((Entry("etc/motd", text="hi\n", mode=0o600, owner="me"),)), "aarch64"),
    "unpack": Derivation("dash", Unpack("deb", exclude=("usr/share/doc",)), "x86_64", version="0.5"),
    "union": Derivation("root", Union(winners=(("etc/motd", "etc"),)), "riscv64"),
    "script": Derivation(
        "zlib",
        Script("make\n", (("CC", "gcc"),), attributes=(Attribute("usr/bin/su", mode=0o4755),)),
        "aarch64",
        version="1.2.13",
        inputs=(Input(DerivationId.of(b"input"), Use.LAYER, "/usr/aarch64-linux-gnu", subdir="usr"),),
    ),
    "choice": Derivation("vim", Choice("no archive for it"), "x86_64"),
    "stored": Derivation("generation-3", Stored(TREE), "x86_64"),
}

GOLDEN = {
    "fetch": ("4aa75a53f92bdfb5a0fb3234", "18e213572b25dc04345803fc"),
    "git": ("b2d99d36803cec4eec73d1a7", "fbbb5a49b8d416405b519c14"),
    "local": ("4f6eeeb0a02ba0d9146410ec", "fbbb5a49b8d416405b519c14"),
    "files": ("e67206f57ca029c4cae381ac", "333ebbdc5bbeca5d77ef6d4a"),
    "unpack": ("95c9a3cced5a4e161f185184", "735390693cd9d1c0dc2682ef"),
    "union": ("82c3e1f21b4364867f49e15e", "2a75b79039278635e3eb2f3e"),
    "script": ("3cb21d5ad9f74ee1a7155dda", "18bcf219a60a7306368604ca"),
    "choice": ("3831bd1b260430b3367650f5", "f5948a652f3bebaae0a239df"),
    "stored": ("b3806995b8fa8db62194e62f", "fbbb5a49b8d416405b519c14"),
}


def resolve(each: Input) -> TreeDigest:
    return TreeDigest.of(each.derivation)


@pytest.mark.parametrize("kind", SAMPLES)
def test_ids_and_keys_do_not_change_by_accident(kind: str) -> None:
    """An edit here means that every store in the world rebuilds everything: raise the version byte with it."""
    assert (str(derivation_id(SAMPLES[kind]))[:24], str(build_key(SAMPLES[kind], resolve))[:24]) == GOLDEN[kind]


def changed(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[1:] + "1"
        case Digest():
            return type(value).of(value)
        case None:
            return 7
        case tuple():
            return (*value, value[0]) if value else ("x",)
    raise AssertionError(value)


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_key_covers_every_field_that_can_change_the_output(kind: str) -> None:
    sample = SAMPLES[kind]
    builder = sample.builder
    outside = {
        "fetch": {"urls", "size", "tree"},
        "git": {"urls", "commit", "submodules"},
        "local": {"path"},
        "script": {"call"},
    }.get(kind, set())
    empty_tuples = {
        "env": (("A", "b"),),
        "attributes": (Attribute("usr/bin/x"),),
        "winners": (("a", "b"),),
        "required": (("a", "b"),),
    }
    for field in fields(builder):
        value = getattr(builder, field.name)
        other = empty_tuples.get(field.name, changed(value)) if value == () else changed(value)
        altered = replace(sample, builder=replace(builder, **{field.name: other}))
        same = build_key(altered, resolve) == build_key(sample, resolve)
        assert same == (field.name in outside), field.name


def test_the_id_covers_inputs_and_platform() -> None:
    sample = SAMPLES["script"]
    variants = [
        replace(sample, platform="riscv64"),
        replace(sample, build_platform="aarch64"),
        replace(sample, version="1.2.14"),
        replace(sample, outputs=("out", "dev")),
        replace(sample, inputs=()),
        replace(sample, inputs=(replace(sample.inputs[0], at="/"),)),
        replace(sample, inputs=(replace(sample.inputs[0], subdir=""),)),
        replace(sample, inputs=(replace(sample.inputs[0], use=Use.BIND),)),
        replace(sample, runtime=(DerivationId.of(b"other"),)),
    ]
    ids = {derivation_id(each) for each in (sample, *variants)}
    assert len(ids) == len(variants) + 1


def test_runtime_needs_are_not_part_of_the_build_key() -> None:
    sample = SAMPLES["script"]
    other = replace(sample, runtime=(DerivationId.of(b"other"),))
    assert build_key(sample, resolve) == build_key(other, resolve)


def test_fields_cannot_run_into_each_other() -> None:
    assert encode_fields(b"d", [b"ab", b"c"]) != encode_fields(b"d", [b"a", b"bc"])
    assert encode_fields(b"d", [b"ab"]) != encode_fields(b"da", [b"b"])
    assert encode_fields(b"d", []) != encode_fields(b"d", [b""])


@pytest.mark.parametrize("kind", SAMPLES)
def test_json_round_trip(kind: str) -> None:
    assert derivation_from_json(derivation_to_json(SAMPLES[kind])) == SAMPLES[kind]


@given(random_graphs())
def test_graph_json_round_trip(graph: DerivationGraph) -> None:
    again = graph_from_json(graph_to_json(graph))
    assert (again.derivations, again.targets) == (graph.derivations, graph.targets)
    assert list(again.derivations) == list(graph.derivations)


def test_a_graph_refuses_an_input_it_does_not_have() -> None:
    builder = GraphBuilder()
    with pytest.raises(KeyError, match="not in the graph"):
        builder.add(union("broken", [DerivationId.of(b"nowhere")]))


def test_adding_the_same_recipe_twice_is_one_node() -> None:
    builder = GraphBuilder()
    assert builder.add(leaf("one")) == builder.add(leaf("one"))
    assert len(builder.finish().derivations) == 1
