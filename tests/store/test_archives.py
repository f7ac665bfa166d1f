"""The readers of archives: what is damaged is refused, what is odd is read as the tools read it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from nexis_store.errors import HostileArchiveError, StoreError
from nexis_store.members import BadArchiveError, Limits, UnsupportedArchiveError
from nexis_store.store import Store
from nexis_store.unpack import members_of
from tests.store.packed import COMPRESSIONS, END, checked, deb, entry, header, ours, padded, pax, zipped

THREE = entry(b"one", b"1" * 700) + entry(b"two", b"2" * 700) + entry(b"three", b"3" * 700)
FILES = {"one": b"1" * 700, "two": b"2" * 700, "three": b"3" * 700}
SPARSE = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"holes"))
HOLES = {"holes": bytes(1000) + b"data" + bytes(96)}


def base_256(number: int, length: int = 12) -> bytes:
    return (
        (number & ((1 << 8 * length) - 1)).to_bytes(length, "big")
        if number < 0
        else bytes((0x80, *number.to_bytes(length - 1, "big")))
    )


READ = {
    "plain": (THREE + END, FILES),
    "one block of the end": (THREE + bytes(512), FILES),
    "a lone block of zeros ends it": (THREE + bytes(512) + entry(b"four"), FILES),
    "garbage behind the end": (THREE + END + b"x" * 600, FILES),
    "doubled slash": (entry(b"p//a", b"x") + END, {"p": None, "p/a": b"x"}),
    "dot inside": (entry(b"p/./a", b"x") + END, {"p": None, "p/a": b"x"}),
    "absolute": (entry(b"//p/a", b"x") + END, {"p": None, "p/a": b"x"}),
    "absolute hard link": (entry(b"/a", b"x") + entry(b"/b", kind=b"1", link=b"/a") + END, {"a": b"x", "b": b"x"}),
    "volume label": (entry(b"my disk", kind=b"V") + THREE + END, FILES),
    "old directory": (entry(b"d/", kind=b"\0") + entry(b"e/", kind=b"0") + END, {"d": None, "e": None}),
    "GNU's dump of a directory": (entry(b"d/", b"Yfile\0\0", kind=b"D") + END, {"d": None}),
    "contiguous": (entry(b"a", b"x", kind=b"7") + END, {"a": b"x"}),
    "prefix": (entry(b"a", b"x", prefix=b"p/q") + END, {"p": None, "p/q": None, "p/q/a": b"x"}),
    "times of GNU in place of a prefix": (
        entry(b"a", b"x", magic=b"ustar  \0", prefix=b"14000000000") + END,
        {"a": b"x"},
    ),
    "without a magic": (entry(b"a", b"x", magic=b"") + END, {"a": b"x"}),
    "long name": (entry(b"L", b"n" * 200 + b"\0", b"L") + entry(b"a", b"x") + END, {"n" * 200: b"x"}),
    "long target": (entry(b"K", b"t" * 200, b"K") + entry(b"a", kind=b"2") + END, {"a": "t" * 200}),
    "pax path and size": (
        pax((b"path", b"new"), (b"size", b"3")) + header(b"a", b"0") + padded(b"abc") + END,
        {"new": b"abc"},
    ),
    "pax for all": (pax((b"uname", b"x"), (b"comment", b"of git"), kind=b"g") + THREE + END, FILES),
    "later pax wins": (pax((b"path", b"a")) + pax((b"path", b"b")) + entry(b"c", b"x") + END, {"b": b"x"}),
    "size in base 256": (header(b"a", base_256(3)) + padded(b"abc") + END, {"a": b"abc"}),
    "owner in base 256": (entry(b"a", b"x", uid=base_256(1 << 40, 8)) + END, {"a": b"x"}),
    "no owner at all": (entry(b"a", b"x", uid=b"", gid=b"        ") + END, {"a": b"x"}),
    "a name that is no UTF-8": (entry(b"\xff", b"x") + END, {"\udcff": b"x"}),
    "holes of pax 1.0": (
        pax(*SPARSE, (b"GNU.sparse.realsize", b"1100"))
        + entry(b"x/0", padded(b"2\n1000\n4\n1100\n0\n") + b"data")
        + END,
        HOLES,
    ),
    "holes of pax 0.1": (
        pax((b"GNU.sparse.size", b"1100"), (b"GNU.sparse.map", b"1000,4"), (b"GNU.sparse.name", b"holes"))
        + entry(b"x/0", b"data")
        + END,
        HOLES,
    ),
    "holes of pax 0.0": (
        pax((b"GNU.sparse.size", b"1100"), (b"GNU.sparse.offset", b"1000"), (b"GNU.sparse.numbytes", b"4"))
        + entry(b"holes", b"data")
        + END,
        HOLES,
    ),
}


@pytest.mark.parametrize(("data", "files"), READ.values(), ids=READ.keys())
def test_what_is_odd_is_read_as_gnu_tar_reads_it(data: bytes, files: dict[str, bytes | str | None]) -> None:
    assert ours(data) == files


def flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    return data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]


SECOND = len(entry(b"one", b"1" * 700))
REFUSED = {
    "checksum of the second header": (flipped(THREE, SECOND + 150) + END, "'one' is damaged: its checksum is wrong"),
    "a bit of the third name": (flipped(THREE, 2 * SECOND) + END, "'two' is damaged: its checksum is wrong"),
    "no mark of the end": (THREE, "'three' without the mark of the end"),
    "cut in a header": (THREE[: SECOND + 100], "in the middle of the header after 'one'"),
    "cut in data": (THREE[: SECOND + 600], "in the middle of 'two'"),
    "cut in padding": (THREE[: SECOND - 10], "in the middle of 'one'"),
    "ends after a pax header": (pax((b"path", b"x")) + END, "ends after a header that extends"),
    "negative size": (header(b"a", base_256(-1)) + END, "negative size -1"),
    "huge size": (header(b"a", base_256(1 << 80)) + END, "unpacks to more than"),
    "negative owner": (entry(b"a", uid=base_256(-2, 8)) + END, "negative owner -2"),
    "size that is no number": (checked(header(b"a")[:124] + b"12x4567\0    " + header(b"a")[136:]), "for a size"),
    "size with a blank as Python takes it": (
        checked(header(b"a")[:124] + b"0o17\0       " + header(b"a")[136:]),
        "size",
    ),
    "3,000 pax headers": (pax((b"path", b"x")) * 3000 + THREE + END, "more than 32 headers extend one entry"),
    "3,000 long names": (entry(b"L", b"x", b"L") * 3000 + THREE + END, "more than 32 headers extend one entry"),
    "an endless pax header": (header(b"x", base_256(1 << 40), b"x"), "a header that extends another one has"),
    "climbing": (entry(b"a/../../b", b"x") + END, "has a component '..'"),
    "link that climbs": (entry(b"a", kind=b"1", link=b"../b") + END, "has a component '..'"),
    "of another volume": (entry(b"a", b"x", b"M") + END, "continues a file of another volume"),
    "unknown kind": (entry(b"a", b"x", b"Q") + END, "unknown kind 'Q'"),
    "empty": (b"", "it is empty"),
    "text": (b"text\n" * 200, "it is not a tar archive"),
    "short text": (b"text\n", "it is not a tar archive"),
}
for name, value in {
    "no length": b"path=x\n",
    "length 0": b"0 path=x\n",
    "length of a digit that is none": "²1 path=x\n".encode(),
    "too long": b"99 path=x\n",
    "without '='": b"8 pathx\n",
    "without an end": b"9 path=xy",
    "huge length": b"9" * 5000 + b" path=x\n",
    "NUL": b"\0" * 20,
}.items():
    REFUSED[f"pax: {name}"] = (entry(b"x", value, b"x") + THREE + END, "a pax header is damaged")
for key, value in {
    b"size": b"-1",
    b"uid": b"x" * 5000,
    b"gid": b"1e9",
    b"GNU.sparse.map": b"1,x",
    b"GNU.sparse.size": b"garbage",
    b"GNU.sparse.major": b"x",
    b"GNU.sparse.numblocks": b"7",
    b"GNU.sparse.offset": b"-5",
}.items():
    REFUSED[f"pax: {key.decode()}={value[:9].decode()}"] = (pax((key, value)) + entry(b"a") + END, "")
for name, sparse_map in {
    "no number": b"x\n",
    "endless": b"1" * 5000,
    "negative": b"1\n-5\n4\n",
    "overlapping": b"2\n0\n4\n2\n4\n",
    "beyond the end": b"1\n9000\n4\n",
    "too many": b"99999999999\n",
    "cut": b"9\n1\n",
    "not UTF-8": "¹\n".encode(),
}.items():
    REFUSED[f"holes: {name}"] = (
        pax(*SPARSE, (b"GNU.sparse.realsize", b"1100")) + entry(b"x", padded(sparse_map) + b"data") + END,
        "'holes' has",
    )


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_damaged_is_refused_with_the_reason(store: Store, data: bytes, reason: str) -> None:
    found = ours(data)
    assert isinstance(found, str) and reason in found, found
    with pytest.raises(StoreError, match=r"^x: "):
        store.add_archive(io.BytesIO(data), "x")
    assert list(store.artifacts()) == []


BIG = entry(b"one", bytes(range(256)) * 40) + entry(b"two", b"2" * 70000) + entry(b"three", b"3" * 700) + END


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_no_cut_goes_unseen(compress: Callable[[bytes], bytes]) -> None:
    data = compress(BIG)
    whole = ours(data)
    assert isinstance(whole, dict) and len(whole) == 3
    ends = range(len(data) - len(END) + 512, len(data)) if compress is bytes else ()
    step = max(1, len(data) // 300)
    for cut in {*range(0, len(data), step), *range(40), *range(len(data) - 40, len(data))}:
        if 0 <= cut < len(data) and cut not in ends:
            assert isinstance(ours(data[:cut]), str), cut


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "lzip", "zstd"])
def test_several_members_are_one_stream(name: str) -> None:
    compress = COMPRESSIONS[name]
    assert ours(compress(BIG[:700]) + compress(b"") + compress(BIG[700:])) == ours(BIG)
    cut = compress(BIG[:700]) + compress(BIG[700:])[:-3]
    assert isinstance(ours(cut), str)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "lzip", "zstd"])
def test_no_flipped_bit_of_a_compressed_archive_gives_other_files(name: str) -> None:
    data = COMPRESSIONS[name](BIG)
    for at in range(0, len(data), max(1, len(data) // 150)):
        found = ours(flipped(data, at, 4))
        assert isinstance(found, str) or found == ours(BIG), at


@pytest.mark.parametrize("compress", [each for name, each in COMPRESSIONS.items() if name != "plain"])
def test_a_bomb_is_refused_before_it_goes_off(compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(header(b"a", base_256(1 << 27)) + bytes(1 << 27))
    limits = Limits(ratio=10, free_bytes=1 << 20)
    with members_of(io.BytesIO(bomb), "tar", limits) as members, pytest.raises(BadArchiveError, match="any sane one"):
        for member in members:
            while member.read is not None and member.read(1 << 16):
                pass


def test_holes_are_a_bomb_too() -> None:
    records = (*SPARSE, (b"GNU.sparse.realsize", b"1" + b"0" * 13))
    data = pax(*records) + entry(b"x", padded(b"1\n9\n4\n") + b"data") + END
    assert "unpacks to more than 274,877,906,944 bytes" in str(ours(data))


def test_a_decompressor_does_not_get_all_memory(store: Store) -> None:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=31)
    packed = zstandard.ZstdCompressor(compression_params=parameters).stream_writer(out := io.BytesIO(), closefd=False)
    packed.write(THREE + END)
    packed.close()
    assert "takes more than 1,073,741,824 bytes of memory" in str(ours(out.getvalue()))
    with pytest.raises(StoreError, match="cannot be unpacked: unpacking it takes more than"):
        store.add_archive(io.BytesIO(out.getvalue()), "x")


ZIP = zipped(("a", b"text" * 100), ("d/b", b"x"))
UTF8 = zipped(("ä", b"x")).replace("ä".encode(), b"\xff\xfe")
ZIPS = {
    "DOS": (zipped(("p\\q\\a", b"x"), ("d\\", b""), system=0), {"p": None, "p/q": None, "p/q/a": b"x", "d": None}),
    "a backslash of Unix": (zipped(("p\\a", b"x")), {"p\\a": b"x"}),
    "a name twice": (zipped(("a", b"1"), ("a", b"2")), {"a": b"2"}),
    "absolute": (zipped(("/a", b"x")), {"a": b"x"}),
    "dots": (zipped(("./p//./a", b"x")), {"p": None, "p/a": b"x"}),
    "UTF-8 that is none": (UTF8, "a name is marked as UTF-8 and is not"),
    "climbing": (zipped(("../a", b"x")), "has a component '..'"),
    "encrypted": (ZIP.replace(b"\x14\0\0\0\x08", b"\x14\0\x01\0\x08"), "'a' is encrypted"),
    "Deflate64": (ZIP.replace(b"\x14\0\0\0\x08", b"\x14\0\0\0\x09"), "'a' is compressed by Deflate64"),
    "implode": (ZIP.replace(b"\x14\0\0\0\x08", b"\x14\0\0\0\x06"), "'a' is compressed by implode"),
    "cut": (ZIP[:-5], "not a zip file"),
    "text": (b"PK\x03\x04 and more", "not a zip file"),
    "device": (zipped(("a", b""), mode=0o020644), "a device"),
    "long link": (zipped(("a", b"x" * 5000), mode=0o120777), "a symbolic link to something of 5,000 bytes"),
    "checksum": (flipped(zipped(("a", b"text"), method=0), 32), "Bad CRC-32"),
}


@pytest.mark.parametrize(("data", "expected"), ZIPS.values(), ids=ZIPS.keys())
def test_zips(store: Store, data: bytes, expected: dict[str, bytes] | str) -> None:
    found = ours(data, "zip")
    if isinstance(expected, dict):
        assert found == expected
        return
    assert isinstance(found, str) and expected in found, found
    with pytest.raises(StoreError, match=r"^x: "):
        store.add_archive(io.BytesIO(data), "x", format="zip")


def test_no_byte_of_a_zip_ends_the_program() -> None:
    for at in range(len(ZIP)):
        for bit in (1, 16, 128):
            ours(flipped(ZIP, at, bit), "zip")


OWNERS = {
    "a newline": b"root\nx",
    "ESC": b"\x1b[2J",
    "a colon": b"a:b",
    "a slash": b"a/b",
    "no UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("owner", OWNERS.values(), ids=OWNERS.keys())
def test_the_owners_of_a_package_have_names_that_can_be_shown(store: Store, owner: bytes) -> None:
    for field in ("uname", "gname"):
        data = entry(b"a", b"x", **{field: owner}) + END
        with pytest.raises(HostileArchiveError, match="it belongs to"):
            store.add_archive(io.BytesIO(deb(data)), "x", format="deb")
        assert store.add_archive(io.BytesIO(data), "of no interest")
    long = pax((b"uname", b"o" * 300)) + entry(b"a", b"x") + END
    with pytest.raises(HostileArchiveError, match="longer than 255 bytes"):
        store.add_archive(io.BytesIO(deb(long)), "x", format="deb")


@pytest.mark.parametrize("name", [b"user.\n", b"user.\x1b", b"", b"x" * 256], ids=["newline", "ESC", "empty", "long"])
def test_the_attributes_of_a_package_have_names_that_can_be_shown(store: Store, name: bytes) -> None:
    data = pax((b"SCHILY.xattr." + name, b"x")) + entry(b"a", b"x") + END
    with pytest.raises(HostileArchiveError, match="impossible extended attribute"):
        store.add_archive(io.BytesIO(deb(data)), "x", format="deb")


PACKAGE = deb(THREE + END)
PACKAGES = {
    "another order": (PACKAGE[:8] + PACKAGE[72:], "where debian-binary belongs"),
    "no control": (PACKAGE.replace(b"control.tar", b"contrary.ar"), "where control.tar belongs"),
    "another format": (PACKAGE.replace(b"2.0\n", b"3.0\n"), "unknown format"),
    "a size that is no number": (
        PACKAGE.replace(b"4         `", b"+4        `", 1),
        "header of its members is damaged",
    ),
    "a size that is huge": (PACKAGE.replace(b"4         `", b"9999999999`", 1), "was cut"),
    "a library": (b"!<arch>\n" + b"/".ljust(48) + b"0".ljust(10) + b"`\n", "where debian-binary belongs"),
    "cut": (PACKAGE[:-700], "was cut"),
    "data by compress": (deb(b"\x1f\x9d" + bytes(100)), "compress(1)"),
}


@pytest.mark.parametrize(("data", "reason"), PACKAGES.values(), ids=PACKAGES.keys())
def test_debian_packages(data: bytes, reason: str) -> None:
    assert ours(PACKAGE, "deb") == FILES
    found = ours(data, "deb")
    assert isinstance(found, str) and reason in found, found


def test_what_only_others_can_unpack_is_told_apart() -> None:
    with (
        pytest.raises(UnsupportedArchiveError),
        members_of(io.BytesIO(b"\x1f\x9d" + bytes(99)), "tar", Limits()) as found,
    ):
        list(found)
