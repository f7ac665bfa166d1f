from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexis_store import records
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.records import decode_realisation, encode_realisation, pack_digests, unpack_digests

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
