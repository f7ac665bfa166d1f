"""``nexis-eval`` as it is installed."""

from __future__ import annotations

from typing import NoReturn

from nexis_store.cli.start import prepare


def main() -> NoReturn:
    """Make the process fit before anything else is imported, then run the command line."""
    prepare()
    from nexis_eval.cli import main as program

    program.main()
