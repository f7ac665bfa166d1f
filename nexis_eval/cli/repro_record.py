"""Write a record of what a system was built from and what came out, to compare with another's or to build again.

What is not built yet is built first. The record is the same on every machine that builds the same, but for its
'environment'. With --sign it is signed by an OpenSSH key ('ssh-keygen -Y'), beside it as FILE.sig.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from nexis_eval.cli.arguments import (
    DEFAULT,
    add_evaluation_arguments,
    add_jobs_argument,
    add_store_argument,
    take_targets,
)
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.cli.repro_common import expect_room_for, realise_steps, write
from nexis_eval.graph.target import parse_target
from nexis_eval.mirrors import default_mirrors
from nexis_eval.repro.cache import publish
from nexis_eval.repro.record import BuildRecord, encode_record
from nexis_eval.repro.recording import make_record, this_environment
from nexis_eval.repro.signing import SignatureError, sign
from nexis_eval.repro.slsa import statement
from nexis_store.store import Store, default_store_root

EXAMPLES = """\
examples:
  nexis-eval repro record -o record.json
  nexis-eval repro record --provenance provenance.json --sign ~/.ssh/id_ed25519
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what to record of it (default: {DEFAULT})")
    add_store_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("record.json"),
        metavar="FILE",
        help="where to write it (default: record.json)",
    )
    parser.add_argument(
        "--provenance", type=Path, metavar="FILE", help="also write an in-toto statement with SLSA provenance v1"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="also add what came out to the binary cache there, for 'repro diff'"
    )
    parser.add_argument("--sign", type=Path, metavar="KEY", help="sign what is written with this OpenSSH key")


def run(args: argparse.Namespace) -> int:
    """Record; returns the exit code."""
    named = take_targets(args, 0, None)
    expect_room_for((args.output, args.provenance), (args.cache,))
    if args.sign is not None and not args.sign.is_file():
        raise SignatureError(f"there is no key {args.sign} to sign with", hint="'ssh-keygen -t ed25519' makes one")
    evaluation = evaluate(args)
    graph = evaluation.graph
    names = named or default_names(evaluation)
    roots = named_roots(evaluation, names)
    with Store.open(args.store or default_store_root()) as store:
        mirrors = default_mirrors(evaluation.summary.mirrors)
        # Every step's outputs are part of the record, so all of them must be there, not only the roots'.
        realise_steps(store, graph, list(graph.closure(roots)), mirrors, args.jobs)
        arch = evaluation.summary.arch
        record = make_record(
            store, evaluation.summary.system, arch, graph, names, roots, this_environment(), evaluation.summary.mirrors
        )
        text = encode_record(record)
        write(args.output, text)
        written = [args.output]
        if args.cache is not None:
            print(f"{args.cache}: {publish(record, store, args.cache)} files added", file=sys.stderr)
        if args.provenance is not None:
            digest = hashlib.sha256(text.encode()).hexdigest()
            write(args.provenance, statement(record, _files(store, record), digest, _span(store, record)))
            written.append(args.provenance)
    if args.sign is not None:
        written += [sign(path, args.sign) for path in list(written)]
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    return 0


def _span(store: Store, record: BuildRecord) -> tuple[int, int] | None:
    """When the first of the recorded steps began and the last one ended, as far as the store knows."""
    known = [found for each in record.steps if (found := store.realised(each)) is not None and found.started_ns]
    if not known:
        return None
    return min(each.started_ns for each in known), max(each.started_ns + each.duration_ns for each in known)


def _files(store: Store, record: BuildRecord) -> dict[str, str]:
    """SHA-256 of every file of the recorded targets."""
    found = {}
    for name in record.roots:
        step = record.steps[record.graph.targets[parse_target(name)]]
        for digest in step.outputs.values():
            root = store.path(digest)
            for entry in store.manifest(digest).entries():
                if entry.kind == "f":
                    with (root / entry.path).open("rb") as file:
                        found[entry.path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
