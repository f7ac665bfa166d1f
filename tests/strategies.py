"""Hypothesis strategies that several tests share."""

from __future__ import annotations

from hypothesis import strategies as st

from nexis_store.digest import FileDigest
from nexis_store.tree import DEFAULT, Attributes, Manifest, ManifestEntry, directory_entry, file_entry, symlink_entry

names = st.one_of(
    st.sampled_from(["a", "b", "a.b", "a-b", "usr", "bin", "ü", "x y", "\udcff", ".hidden"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
        lambda name: name not in (".", "..")
    ),
)
"""File names, with bytes that are no UTF-8 among them."""

owners = st.sampled_from(["root", "daemon", "1000"])

attributes = st.one_of(
    st.just(DEFAULT),
    st.builds(
        Attributes,
        mode=st.one_of(st.none(), st.integers(0, 0o7777)),
        owner=owners,
        group=owners,
        xattrs=st.dictionaries(
            st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=9), max_size=2
        ).map(lambda found: tuple(found.items())),
    ),
)

contents = st.one_of(st.just(b""), st.sampled_from([b"one", b"two" * 1000]), st.binary(max_size=100))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Small trees of every kind of entry."""
    entries: list[ManifestEntry] = []

    def fill(prefix: str, depth: int) -> None:
        for name in draw(st.lists(names, max_size=4, unique=True)):
            path = prefix + name
            kind = draw(st.sampled_from("fdl" if depth < 3 else "fl"))
            given = draw(attributes)
            if kind == "f":
                data = draw(contents)
                entries.append(file_entry(path, FileDigest.of(data), len(data), draw(st.booleans()), given))
            elif kind == "l":
                entries.append(symlink_entry(path, draw(names), given))
            else:
                entries.append(directory_entry(path, given))
                fill(path + "/", depth + 1)

    fill("", 0)
    return Manifest.of(entries)
