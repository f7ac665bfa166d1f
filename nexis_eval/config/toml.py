"""Reads TOML files, and says in a person's words where one is not TOML."""

from __future__ import annotations

import re
from pathlib import Path

import tomli

from nexis_eval.config.errors import EncodingError, TomlSyntaxError
from nexis_eval.config.positions import line_and_column
from nexis_store.errors import Place

_BOM = b"\xef\xbb\xbf"

_CURES = (
    ("Invalid value", "strings need quotes, lists […]; true and false are lower-case"),
    ("Expected newline or end of document", "one key and one value a line; is a quote or a bracket missing before?"),
    ("Unterminated string", 'close the string with the quotes that opened it; """ … """ may span lines'),
    ("Illegal character '\\n'", 'close the string on its line, or use """ … """ for several lines'),
    ("Unclosed array", "a comma between two values, and ] at the end"),
    ("Unclosed inline table", "'{ a = 1, b = 2 }' takes commas, and one line; a [table] of its own may be longer"),
    ("Cannot overwrite a value", "the key is set twice in this table; keep one of the two"),
    ("Duplicate inline table key", "the key is set twice in this table; keep one of the two"),
    ("twice", "join the two tables under one header; [[name]] with two brackets makes a list of tables"),
    ("Cannot mutate immutable namespace", "'{ … }' and '[ … ]' are complete where they are written"),
    ("Cannot redefine namespace", "the name is a list of tables elsewhere: write [[name]] with two brackets"),
    ("Unescaped '\\'", "write \\\\ for one backslash, or take single quotes, in which nothing is escaped"),
    ("Expected '='", "a key without dots, spaces or umlauts needs no quotes; others do; then '=' and a value"),
    ("Invalid statement", "a line is a comment (#), a [table], or key = value"),
    ("Expected ']'", "a table's header ends with as many brackets as it starts with"),
    ("Invalid initial character for a key part", "a key comes first: letters, digits, _ and -, or in quotes"),
)


def _cure(problem: str) -> str:
    return next((cure for start, cure in _CURES if start in problem), "see https://toml.io/en/v1.0.0")


def decode(data: bytes, shown: str) -> str:
    """The text of a file; raises ``EncodingError``. A byte-order mark is dropped, as editors on Windows write it."""
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        before = data.removeprefix(_BOM)[: error.start].decode()
        line, column = line_and_column(before, len(before))
        raise EncodingError(
            f"the file is not UTF-8: byte 0x{error.object[error.start]:02x}",
            hint="save it as UTF-8",
            place=Place(shown, line, column),
            length=1,
        ) from None


def parse(text: str, shown: str) -> dict[str, object]:
    """The values of a TOML text; raises ``TomlSyntaxError`` with a place. ``shown`` is how messages call the file."""
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = re.sub(r" \(at .*\)$", "", str(error))
        line, column = line_and_column(error.doc, min(error.pos, len(error.doc)))
        raise TomlSyntaxError(
            f"not valid TOML: {message[:1].lower()}{message[1:]}",
            hint=_cure(message),
            place=Place(shown, line, column),
            length=1,
        ) from None
    except RecursionError:
        raise TomlSyntaxError(
            "not readable: lists or tables are nested too deeply", hint="flatten them", place=Place(shown)
        ) from None


def read_text(path: Path, shown: str) -> str:
    """The text of a file; raises ``OSError`` and ``EncodingError``."""
    return decode(path.read_bytes(), shown)
