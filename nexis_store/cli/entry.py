"""``nexis-store`` as it is installed."""

from __future__ import annotations

from nexis_store.cli.start import prepare


def main() -> int:
    """Make the process fit before anything else is imported, then run the command line."""
    prepare()
    from nexis_store.cli import main as program

    return program.main()
