"""What builds came out as, as records of the metadata."""

from __future__ import annotations

from nexis_store.database import Transaction
from nexis_store.errors import NotInStoreError
from nexis_store.names import encode
from nexis_store.realisation import Realisation
from nexis_store.records import (
    ARTIFACT,
    DERIVATION,
    DURATION,
    PRODUCED,
    REALISATION,
    encode_realisation,
    latest_key,
    pack_number,
)


def remember(transaction: Transaction, realisation: Realisation) -> None:
    """Note a realisation and what leads to it; raises ``NotInStoreError`` if an output is not there."""
    for name, digest in realisation.outputs.items():
        if transaction.get(ARTIFACT + digest) is None:
            raise NotInStoreError(f"the output {name} of {realisation.name} ({digest}) is not in the store")
        transaction.put(PRODUCED + digest + realisation.key, b"")
    transaction.put(REALISATION + realisation.key, encode_realisation(realisation))
    transaction.put(DERIVATION + realisation.derivation, realisation.key)
    transaction.put(latest_key(realisation.name, realisation.extra.get("platform", "")), realisation.key)
    if realisation.duration_ns:
        transaction.put(DURATION + encode(realisation.name), pack_number(realisation.duration_ns))
