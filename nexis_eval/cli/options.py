"""List all settings with their types, defaults and meaning; with words, those whose name or text has them.

Exits with 1 if there is none.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import textwrap

from nexis_eval.config import reference
from nexis_eval.config.reference import Option

EXAMPLES = """\
examples:
  nexis-eval options
  nexis-eval options firewall port
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("search", nargs="*", metavar="WORD", help="words that the key or its text must have")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--markdown", action="store_true", help="print the page of the documentation")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; the exit code is 1 if that is nothing."""
    if arguments.markdown:
        print(reference.markdown(), end="")
        return 0
    found = reference.search(" ".join(arguments.search)) if arguments.search else list(reference.options())
    if arguments.json:
        print(json.dumps([dataclasses.asdict(each) for each in found], indent=2, ensure_ascii=False))
        return 0 if found else 1
    if not found:
        print(f"no setting has '{' '.join(arguments.search)}' in its name or text", file=sys.stderr)
        return 1
    width = min(shutil.get_terminal_size((100, 25)).columns, 120)
    print("\n\n".join(_entry(each, width) for each in found))
    return 0


def _entry(option: Option, width: int) -> str:
    facts = [option.kind]
    if option.required:
        facts.append("required")
    elif option.default is not None:
        facts.append(f"default {option.default}")
    facts.append(f"used by {option.used_by}" if option.used_by else "no effect yet")
    text = textwrap.fill(option.doc, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f"{option.key}  ({', '.join(facts)})\n{text}"
