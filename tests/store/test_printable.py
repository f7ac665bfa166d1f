"""What a terminal is given of text that comes from elsewhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_store.names import printable


@given(st.text(st.sampled_from("a€\x1b[]0123;mJPX\\\x07\x9c\x9b\r\n\t\u202e\x00\udcff")), st.booleans())
def test_what_is_printable_steers_no_terminal(text: str, colours: bool) -> None:
    done = printable(text, colours=colours, longest=20)
    plain = re.sub(r"\x1b\[(?:[0-2]|3[0-79]|9[0-7]|;)*m", "", done) if colours else done
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", plain)
    assert done.count("\n") == text.count("\n")
    assert all(len(line) <= 20 + len("… (and 1,000 more characters)") for line in done.split("\n"))


@given(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" \t\n")))
def test_ordinary_text_is_printable_as_it_is(text: str) -> None:
    assert printable(text, longest=len(text) + 1) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]52;c;eA==\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\b", "ab"),
        ("a\x1b[2J\x1b[1;1Hb", "ab"),
        ("\x1b[31mred\x1b[0m \x1b[8mhidden", "red hidden"),
        ("dos\r\nline", "dos\nline"),
        ("over\rwritten", "over\N{REPLACEMENT CHARACTER}written"),
        ("\u202eright to left", "\N{REPLACEMENT CHARACTER}right to left"),
        ("never closed \x1b]0;title\nnext", "never closed \nnext"),
        ("\x1b", "\N{REPLACEMENT CHARACTER}"),
        ("x" * 30 + "\ny", "x" * 20 + "… (and 10 more characters)\ny"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text, longest=20) == shown if len(shown) > 30 else printable(text) == shown
