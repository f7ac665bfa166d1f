"""Reads TOML files, and says in a person's words where one is not TOML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from nexis_eval.config import plain
from nexis_eval.config.errors import EncodingError, Note, TomlSyntaxError
from nexis_eval.config.model import KeyPath
from nexis_store.errors import Place

_BOM = b"\xef\xbb\xbf"

_SAID = (
    ("Invalid value", "a value is expected here", "strings need quotes, lists brackets"),
    (
        "Expected newline or end of document",
        "something follows that does not belong here",
        "one key and one value a line; is a quote or a bracket missing before?",
    ),
    ("Unterminated string", "the string is not closed", 'close it as it was opened; """ … """ may span lines'),
    ("Illegal character '\\n'", "the string is not closed on its line", 'close it, or use """ … """ for several lines'),
    ("Illegal character", "a control character cannot stand here", 'write it as an escape: "\\u001b"'),
    ("Unclosed array", "a comma or ']' is missing before this", "a comma between two values, and ] at the end"),
    ("Unclosed inline table", "a comma or '}' is missing before this", "{ a = 1, b = 2 }"),
    ("Cannot mutate immutable namespace", "the table is complete where it is written", "write all of it in one place"),
    ("Cannot redefine namespace", "the name has another meaning above", "[[name]] is a list of tables, [name] a table"),
    (
        "Unescaped '\\'",
        "the backslash starts no escape",
        "write \\\\, or take single quotes, in which nothing is escaped",
    ),
    (
        "Invalid hex value",
        "the backslash starts no escape",
        "write \\\\, or take single quotes, in which nothing is escaped",
    ),
    ("Expected '='", "'=' is missing after the key", "a key with spaces or dots in it needs quotes"),
    ("Invalid statement", "neither a key nor a table nor a comment", "a line is key = value, [table] or # comment"),
    ("Expected ']", "the header is not closed", "a table's header ends with as many brackets as it starts with"),
    (
        "Invalid initial character for a key part",
        "a key is expected here",
        "letters, digits, _ and -, or quotes around",
    ),
)
_TWICE = ("Cannot overwrite a value", "Duplicate inline table key", "Cannot declare")
_CONFLICT = re.compile(r"<{7} |={7}$|>{7} ", re.MULTILINE)
_LONG_NUMBER = re.compile(r"[=\[,]\s*[+-]?(\d[\d_]{1000,})")
MAX_DEPTH = 64
"""How deep lists and tables may be nested."""
_MAX_INTEGER = 1 << 63
_BRACKETS = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|\#[^\n]*+|[\[{]|[\]}]''', re.DOTALL
)
_WORD = re.compile(r"[^\s,\]}#\"']+")


def _said(problem: str, text: str, offset: int) -> tuple[str, str]:
    """What tomli says, in words that help."""
    message, cure = f"not valid TOML: {problem[:1].lower()}{problem[1:]}", "see https://toml.io/en/v1.1.0"
    for start, ours, hint in _SAID:
        if problem.startswith(start):
            message, cure = f"not valid TOML: {ours}", hint
            break
    if problem.startswith("Invalid value"):
        word = _WORD.match(text, offset)
        if word is None:
            message = "not valid TOML: the key has no value"
        elif word[0].lower() in ("true", "false"):
            cure = f"write {word[0].lower()}"
        else:
            cure = f'write "{word[0]}"'
    elif problem.startswith("Invalid statement") and _CONFLICT.match(text, offset):
        message, cure = "not valid TOML: a merge left its marks here", "keep one side of the conflict, or parts of both"
    elif problem.startswith("Expected newline") and text[offset - 1 : offset] == "0":
        message, cure = "not valid TOML: a number cannot start with 0", "leave the 0 out, or write the value in quotes"
    return message, cure


def _check(values: dict[str, object], text: str, shown: str) -> None:
    """Refuse what TOML allows and nothing here can hold: integers beyond 64 bits, and what is nested without end."""
    pending: list[tuple[KeyPath, object]] = [((), values)]
    while pending:
        path, value = pending.pop()
        if type(value) is dict:
            below: Iterable[tuple[str | int, object]] = value.items()
        elif type(value) is list:
            below = enumerate(value)
        else:
            continue
        if len(path) > MAX_DEPTH:
            raise _too_deep(text, shown, path)
        for key, each in below:
            if type(each) is int:
                if not -_MAX_INTEGER <= each < _MAX_INTEGER:
                    place, length = _place(text, shown, (*path, key))
                    raise TomlSyntaxError(
                        "not readable: an integer of more than 64 bits",
                        hint="is it a string?",
                        place=place,
                        length=length,
                    )
            elif type(each) is dict or type(each) is list:
                pending.append(((*path, key), each))


def _place(text: str, shown: str, path: KeyPath) -> tuple[Place, int]:
    from nexis_eval.config.positions import Positions, line_and_column

    span = Positions(text).find(path)
    if span is None:
        return Place(shown), 0
    return Place(shown, *line_and_column(text, span.start)), min(span.end - span.start, 60)


def _too_deep(text: str, shown: str, path: KeyPath = ()) -> TomlSyntaxError:
    from nexis_eval.config.positions import line_and_column

    depth, at = 0, -1
    for token in _BRACKETS.finditer(text):
        depth += token[0] in ("[", "{")
        depth -= token[0] in ("]", "}")
        if depth > MAX_DEPTH:
            at = token.start()
            break
    if at < 0:
        # Dotted keys: the line that has the most of them.
        lines = [line.split("#")[0].split("=")[0].count(".") for line in text.split("\n")]
        place = Place(shown, lines.index(max(lines)) + 1, 1)
    else:
        place = Place(shown, *line_and_column(text, at))
    return TomlSyntaxError(
        f"not readable: lists or tables are nested more than {MAX_DEPTH} deep",
        hint="flatten them",
        place=place,
        length=1,
    )


def _twice(text: str, shown: str) -> TomlSyntaxError | None:
    """The error for something that is there twice; ``text`` ends with the second."""
    # Imported on use, as everywhere: there is no mistake to show in most files.
    from nexis_eval.config.positions import line_and_column, repeated

    found = repeated(text)
    if found is None:
        return None
    path, first, second = found
    name = ".".join(str(each) for each in path if isinstance(each, str))
    if text[second.start : second.start + 1] == "[" and second.key_start > second.start:
        message, cure = f"not valid TOML: the table '{name}' is there twice", "join the two under one header"
        if text.startswith("[[", second.start) != text.startswith("[[", first.start):
            message = f"not valid TOML: '{name}' is both a table and a list of tables"
            cure = f"write [[{name}]] with two brackets in both places"
    else:
        message, cure = f"not valid TOML: '{name}' is set twice", "keep one of the two"
    return TomlSyntaxError(
        message,
        hint=cure,
        place=Place(shown, *line_and_column(text, second.key_start)),
        length=second.key_end - second.key_start,
        notes=[
            Note(Place(shown, *line_and_column(text, first.key_start)), "first here", first.key_end - first.key_start)
        ],
    )


def decode(data: bytes, shown: str) -> str:
    """The text of a file; raises ``EncodingError``. A byte-order mark is dropped, as editors on Windows write it."""
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        from nexis_eval.config.positions import line_and_column

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
    values = plain.read(text)
    if values is not None:
        return values
    import tomli

    try:
        values = tomli.loads(text)
        _check(values, text, shown)
        return values
    except tomli.TOMLDecodeError as error:
        from nexis_eval.config.positions import line_and_column

        problem = re.sub(r" \(at .*\)$", "", str(error))
        offset = min(error.pos, len(error.doc))
        if problem.startswith(_TWICE):
            line_end = error.doc.find("\n", offset)
            found = _twice(error.doc[: line_end if line_end >= 0 else None], shown)
            if found is not None:
                raise found from None
        message, cure = _said(problem, error.doc, offset)
        place = Place(shown, *line_and_column(error.doc, offset))
        raise TomlSyntaxError(message, hint=cure, place=place, length=1) from None
    except ValueError as error:
        if not str(error).startswith("Exceeds the limit"):
            raise
        # Python reads no more digits than that (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits).
        from nexis_eval.config.positions import line_and_column

        number = _LONG_NUMBER.search(text)
        at = Place(shown, *line_and_column(text, number.start(1))) if number else Place(shown)
        raise TomlSyntaxError("not readable: a number of that many digits", hint="is it a string?", place=at) from None
    except RecursionError:
        raise _too_deep(text, shown) from None


def read_text(path: Path, shown: str) -> str:
    """The text of a file; raises ``OSError`` and ``EncodingError``."""
    return decode(path.read_bytes(), shown)
