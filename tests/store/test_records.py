from __future__ import annotations

import contextlib
import json

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from nexis_store import records
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import DamagedStoreError
from nexis_store.realisation import Realisation
from nexis_store.records import (
    ArtifactRecord,
    decode_realisation,
    encode_realisation,
    pack_digests,
    unpack_digests,
)
from nexis_store.sidecar import decode_sidecar, encode_sidecar
from nexis_store.tree import Manifest

digests = st.binary(min_size=32, max_size=32)


def test_every_table_has_a_letter_of_its_own() -> None:
    tables = [value for name, value in vars(records).items() if name.isupper() and isinstance(value, bytes)]
    assert len(tables) > 10 and all(len(each) == 1 for each in tables)
    assert len(set(tables)) == len(tables)
    assert b"s" not in tables, "taken by the journal's own key"


@given(st.lists(digests))
def test_digests(found: list[bytes]) -> None:
    assert list(unpack_digests(pack_digests(found))) == sorted(set(found))


@given(
    st.builds(
        Realisation,
        key=digests.map(BuildKey),
        derivation=digests.map(DerivationId),
        name=st.text(max_size=9),
        outputs=st.dictionaries(st.text(max_size=9), digests.map(TreeDigest), max_size=3),
        duration_ns=st.integers(0, 2**62),
        note=st.text(max_size=9),
        extra=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    )
)
def test_realisations(realisation: Realisation) -> None:
    assert decode_realisation(realisation.key, encode_realisation(realisation)) == realisation


ODD = [None, 1.5, True, "text", -1, [], {}, {"x": 1}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("field", ["name", "size", "derivation", "outputs", "origin", "duration_ns", "note", "extra"])
def test_a_field_of_another_type_is_damage_and_one_that_nobody_knows_is_nothing(field: str, odd: object) -> None:
    """What is read is typed: anything else raises here, not where the value is used."""
    key = BuildKey(bytes(32))
    realisation = json.loads(encode_realisation(Realisation(key, DerivationId(key), "x", {})))
    artifact = json.loads(ArtifactRecord("x", 1, 1, 1).encode())
    decode_realisation(key, json.dumps({**realisation, "later": odd}).encode())
    ArtifactRecord.decode(json.dumps({**artifact, "later": odd}).encode())
    with contextlib.suppress(DamagedStoreError):
        # What was read can be written.
        encode_realisation(decode_realisation(key, json.dumps({**realisation, field: odd}).encode()))
    with contextlib.suppress(DamagedStoreError):
        ArtifactRecord.decode(json.dumps({**artifact, field: odd}).encode()).encode()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b'{"name":"x"}', "can read"),
        (b'{"name":"x","references":[5],"added_ns":0}', "can read"),
        (b'{"name":"x","references":["00"],"added_ns":0}', "can read"),
        (b"[" * 100_000, "damaged"),
        (b"[]", "can read"),
        (b"nonsense", "damaged"),
        (None, "another version of this program wrote"),
    ],
    ids=["lacks", "type", "digest", "deep", "list", "text", "version"],
)
def test_a_description_of_another_version(header: bytes | None, told: str) -> None:
    manifest = Manifest.of([])
    whole = encode_sidecar("x", [], manifest, 1)
    if header is None:
        data = whole.replace(b"artifact 1 ", b"artifact 2 ", 1)
    else:
        line = header + b"\n"
        data = b"nexis artifact 1 " + blake3(line).hexdigest()[:32].encode() + b"\n" + line + manifest.encode()
    assert decode_sidecar(whole, manifest.digest).name == "x"
    with pytest.raises(DamagedStoreError, match=told):
        decode_sidecar(data, manifest.digest)
