"""Hashes as web pages write them, in the configuration and in the lock."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.config.load import load
from nexis_eval.lock.model import parse_lock
from nexis_eval.sri import LENGTHS, from_sri, is_sri

EMPTY = hashlib.sha256(b"").hexdigest()
EMPTY_SRI = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@given(st.sampled_from(sorted(LENGTHS)), st.data())
def test_both_forms_mean_the_same(algorithm: str, data: st.DataObject) -> None:
    digest = data.draw(st.binary(min_size=LENGTHS[algorithm], max_size=LENGTHS[algorithm]))
    text = f"{algorithm}-{base64.b64encode(digest).decode()}"
    assert is_sri(text)
    assert from_sri(text) == f"{algorithm}:{digest.hex()}"


@pytest.mark.parametrize("text", [f"sha256:{EMPTY}", "sha256", "md5-abc", "", "sha256:abc-def"])
def test_what_is_not_of_this_form(text: str) -> None:
    assert not is_sri(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [("sha256-####", "not base64"), ("sha256-AAAA", "has 32 bytes, this one 3"), ("sha512-", "this one 0")],
)
def test_what_is_wrong_with_it(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_sri(text)


def test_in_a_lock() -> None:
    lock = parse_lock(
        "format = 1\n"
        f'[[source]]\npackage = "zlib"\nfield = "source"\nurls = ["https://example.org/a"]\nhash = "{EMPTY_SRI}"\n'
    )
    (source,) = lock.sources.values()
    assert (source.algorithm, source.hash) == ("sha256", EMPTY)


def test_in_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "system.toml"
    package = f'name = "zlib"\nversion = "1"\nsource = "https://example.org/a"\nhash = "{EMPTY_SRI}"\n'
    file.write_text(f"[system]\nhostname = 'x'\nversion = '1'\n[[packages]]\n{package}")
    assert load(file).packages["zlib"].hash == f"sha256:{EMPTY}"
