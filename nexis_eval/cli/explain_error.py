"""Explain an error by its code, as it stands in brackets after the message.

Without a code, lists all of them.
"""

from __future__ import annotations

import argparse

from nexis_eval import errors
from nexis_store.errors import NexisError
from nexis_store.suggest import nearest


class UnknownCodeError(NexisError):
    """There is no error with that code. ``nexis-eval explain-error`` lists all."""

    code = "C0602"
    exit_code = 2


EXAMPLES = """\
examples:
  nexis-eval explain-error C0201
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("code", nargs="?", metavar="CODE", help="such as C0201")
    parser.add_argument("--markdown", action="store_true", help="print the page of the documentation")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation, or the list."""
    if arguments.markdown:
        print(errors.markdown(), end="")
        return 0
    table = errors.table()
    if arguments.code is None:
        for entry in table.values():
            print(f"{entry.code}  {entry.title.replace('``', '')}")
        return 0
    code = arguments.code.strip("[]").upper()
    if code not in table:
        near = nearest(code, table)
        hint = f"did you mean {near}?" if near else "'nexis-eval explain-error' lists all codes"
        raise UnknownCodeError(f"there is no error {code}", hint=hint)
    entry = table[code]
    print(f"{entry.code} (exit code {entry.exit_code}: {errors.EXIT_CODES[entry.exit_code]})\n")
    print(entry.explanation.replace("``", ""))
    return 0
