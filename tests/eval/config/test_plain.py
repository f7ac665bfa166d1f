"""The fast reader: what it reads is what tomli reads, and what it cannot read it leaves alone."""

from __future__ import annotations

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.config.plain import read

from .test_positions import TRICKY, documents

PLAIN = """\
# A comment
title = "x" # and one more

[system]
hostname = "a"
root_size_mb = 12
[system.selinux]
enabled = true
[[packages]]
name = "a"
build_flags = ["-a", "-b,c", "]"]
dependencies = []
[[packages]]
name="b"
check =false
[network]
dns = [ "1.1.1.1" ]
"""


def test_plain_files_are_read() -> None:
    assert read(PLAIN) == tomli.loads(PLAIN)
    assert read("") == {}
    assert read('a = "x"') == {"a": "x"}


@pytest.mark.parametrize(
    "text",
    [
        'a = "x"\na = "y"',
        "[a]\n[a]",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "[[a]]\n[a.b]",
        "[a.b]\n[a]",
        '[a]\nb = "x"\n[a.b]',
        'a = "x"\n[a.b]',
        "a = 01",
        "a = -1",
        'a = "\\n"',
        'a = """x"""',
        'a = "x',
        "a = [1]",
        'a = ["x",]',
        'a = ["x" "y"]',
        "a = x",
        "a",
        "[a",
        'a.b = "x"',
        'a = "x"\r\nb = "y"',
        'a = "x" b = "y"',
        'a = "x" # \x07',
    ],
)
def test_the_rest_is_left_alone(text: str) -> None:
    assert read(text) is None


NAMES = st.sampled_from(["a", "b", "c", "d-1", "e_2"])
LINES = st.one_of(
    st.builds(
        "{} = {}".format, NAMES, st.sampled_from(['"x"', '"]"', '["a", "#"]', "[]", "true", "7", "0", '""', "1.5"])
    ),
    st.builds("[{}]".format, NAMES),
    st.builds("[[{}]]".format, NAMES),
    st.builds("[{}.{}]".format, NAMES, NAMES),
    st.sampled_from(["", "# c", 'x="y" # "', "  ", "] = 1"]),
)


@given(st.one_of(st.lists(LINES, max_size=12).map("\n".join), documents(), st.sampled_from(list(TRICKY.values()))))
def test_it_agrees_with_tomli_or_says_nothing(text: str) -> None:
    values = read(text)
    if values is not None:
        assert values == tomli.loads(text)


def test_a_long_token_takes_no_longer_than_others() -> None:
    # Quadratic, each of these takes hours.
    for text in ("x" * 1_000_000, "x = " + "y" * 1_000_000, '"' * 1_000_000, "[" + "x" * 1_000_000, "x = [" * 200_000):
        assert read(text) is None
