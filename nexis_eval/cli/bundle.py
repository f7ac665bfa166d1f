"""Write all sources of a system to one file, to build it where there never is a network.

What is not in the store is fetched first. On the other machine, 'nexis-eval fetch --from FILE' takes the sources into
the store, each verified by the hash that the configuration or nexis.lock has; then 'nexis-eval build --offline' works.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from nexis_eval.cli.fetch import BundleError, add_source_arguments, evaluate_for_sources, fetch_all
from nexis_eval.cli.stores import open_store

EXAMPLES = """\
examples:
  nexis-eval bundle
  nexis-eval bundle ~/my-system --all-architectures -o my-system.nexis
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_source_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("sources.nexis"),
        metavar="FILE",
        help="where to write it (default: sources.nexis)",
    )


def run(args: argparse.Namespace) -> int:
    """Bundle; returns the exit code."""
    from nexis_store.transfer import export

    evaluations = evaluate_for_sources(args)
    with open_store(args, evaluations[0].summary.store_profile) as store:
        found = fetch_all(args, store, evaluations)
        digests = sorted(set(found.values()))
        try:
            # Complete or absent: a bundle that was cut short would be carried somewhere before anybody sees it.
            with tempfile.NamedTemporaryFile("wb", dir=args.output.parent, prefix=".bundle-", delete=False) as out:
                try:
                    export(store, digests, out, level=1)  # type: ignore[arg-type]
                    out.flush()
                    os.fsync(out.fileno())
                    Path(out.name).chmod(0o644)
                    Path(out.name).replace(args.output)
                except BaseException:
                    Path(out.name).unlink()
                    raise
        except OSError as error:
            raise BundleError(f"{args.output} cannot be written: {error.strerror}", hint="name another place") from None
    print(f"wrote {args.output}: {len(digests)} sources, {args.output.stat().st_size / 1e6:,.1f} MB")
    return 0
