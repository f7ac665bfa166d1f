"""Fields in URLs."""

from __future__ import annotations

import pytest

from nexis_eval.platforms import AARCH64, PLATFORMS, X86_64
from nexis_eval.templates import ARCH_NAMES, TemplateError, expand, fields_of


def filled(template: str, **changes: str) -> str:
    return expand(template, name="vim", version="9.1.42", platform=AARCH64, **changes)


def test_every_field() -> None:
    template = "{name} {version} {version_major} {version_minor} {tag} {arch} {debarch} {goarch} {triplet}"
    assert filled(template, tag="v9") == "vim 9.1.42 9 9.1 v9 aarch64 arm64 arm64 aarch64-linux-gnu"
    assert filled("{tag}") == "9.1.42"
    assert filled("{arch}", arch_name="armv8") == "armv8"


def test_a_value_with_braces_is_not_filled_in_again() -> None:
    assert expand("{version}", name="x", version="{arch}", platform=X86_64) == "{arch}"


def test_other_braces_stay() -> None:
    assert filled("a{B}{0}b") == "a{B}{0}b"


def test_an_unknown_field_names_those_that_there_are() -> None:
    with pytest.raises(TemplateError, match=r"uses \{verison\}") as caught:
        filled("x-{verison}.tar")
    assert "{version}" in (caught.value.hint or "")


def test_the_fields_of_a_template() -> None:
    assert fields_of("{a}/{b_c}/{a}") == {"a", "b_c"}


def test_every_architecture_has_names_and_its_own_comes_first() -> None:
    assert ARCH_NAMES.keys() == PLATFORMS.keys()
    for arch, names in ARCH_NAMES.items():
        assert names[0] == arch
        assert len(set(names)) == len(names)
