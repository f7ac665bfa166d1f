"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable

_MANY = 500
"""With more names than this, only those of about the length and with the same first letter are compared."""


def near(name: str, known: Iterable[str], most: int, *, cutoff: float = 0.6) -> list[str]:
    """Those of ``known`` that ``name`` was probably meant to be, the nearest first."""
    # Imported on use: most runs have no mistake to explain.
    from difflib import get_close_matches

    names = list(known)
    if len(names) > _MANY:
        names = [each for each in names if each[:1] == name[:1] and abs(len(each) - len(name)) <= 2][: 4 * _MANY]
    return get_close_matches(name, names, n=most, cutoff=cutoff)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The nearest of them, if there is one."""
    return next(iter(near(name, known, 1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str, *, most: int = 1) -> str:
    """A hint that offers the nearest names, or says something else."""
    found = near(name, known, most)
    return f"did you mean {' or '.join(map(repr, found))}?" if found else otherwise
