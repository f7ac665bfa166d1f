from __future__ import annotations

from nexis_store.bloom import BloomFilter
from nexis_store.digest import TreeDigest


def test_what_was_added_is_found_and_little_else() -> None:
    added = [TreeDigest.of(b"%d" % number) for number in range(5000)]
    strangers = [TreeDigest.of(b"x%d" % number) for number in range(5000)]
    filter = BloomFilter(len(added))
    for digest in added:
        filter.add(digest)
    assert all(digest in filter for digest in added)
    # A false positive keeps an artifact until the next recount; it must be rare, and is allowed.
    assert sum(digest in filter for digest in strangers) < 50
