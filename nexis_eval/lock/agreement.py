"""Whether the configuration and ``nexis.lock`` have the hashes of one file; if not, both places are named."""

from __future__ import annotations

from nexis_eval.config.errors import ConfigErrors, HashConflictError
from nexis_eval.config.hashes import HASH_KEYS
from nexis_eval.config.model import Config, Package
from nexis_eval.config.origin import Problem, Source, Spot, shown_path
from nexis_eval.lock.fits import declared_hash_of
from nexis_eval.lock.model import LockedSource, lock_file


def comparable(package: Package, locked: LockedSource) -> bool:
    """Whether the lock has a hash by the algorithm of the one that the configuration declares, if that declares one."""
    declared = declared_hash_of(package, locked.field)
    return declared is None or bool(locked.commit or locked.absent) or locked.digest(_parts(declared)[0]) is not None


def check_agreement(config: Config, package: Package, locked: LockedSource) -> None:
    """Raise ``ConfigErrors`` with both places if the configuration declares another hash than the lock has."""
    declared = declared_hash_of(package, locked.field)
    if declared is None or locked.commit or locked.absent:
        return
    algorithm, digest = _parts(declared)
    pinned = locked.digest(algorithm)
    if pinned is None or pinned == digest:
        return
    key = HASH_KEYS[locked.field]
    lock = lock_file(config.file)
    # Only the places are of interest: what the configuration says is known.
    file = Source(lock, shown_path(lock))
    spot = Spot(file, _path_in(file, locked, algorithm))
    place = config.place(("packages", package.name, key))
    here, there = f"{algorithm}:{digest[:12]}…", f"{algorithm}:{pinned[:12]}…"
    error = Problem(
        HashConflictError,
        f"the {key} of '{package.name}' is {here} here, and in the lock it is {there}",
        f"if the new one is meant, run 'nexis-eval lock --update {package.name}'; else correct or delete it",
        spot,
        ((spot, "the lock pins this one"),),
    ).located()
    error.place, error.length = place, 0
    raise ConfigErrors([error])


def _parts(declared: str) -> tuple[str, str]:
    algorithm, _, digest = declared.partition(":")
    return algorithm, digest


def _path_in(file: Source, locked: LockedSource, algorithm: str) -> tuple[str | int, ...]:
    """The key of a hash in the text of the lock; of the file as a whole where it cannot be read."""
    import tomli

    try:
        tables = tomli.loads(file.path.read_text(encoding="utf-8"))["source"]
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError, KeyError):
        return ()
    wanted = (locked.package, locked.field, locked.arch)
    for index, table in enumerate(tables):
        if (table.get("package"), table.get("field"), table.get("arch", "")) == wanted:
            if algorithm == locked.algorithm:
                return ("source", index, "hash")
            others = [each.partition(":")[0] for each in locked.others]
            return ("source", index, "hashes", others.index(algorithm))
    return ()
