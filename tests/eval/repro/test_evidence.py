"""What differing bytes look like: one example a cause."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile

import pytest

from nexis_eval.repro.causes import STRIPPED, judge, judge_all
from nexis_eval.repro.clocks import moments
from nexis_eval.repro.evidence import differing_ranges
from nexis_eval.repro.findings import Cause, Evidence, Strength
from nexis_eval.repro.opening import open_pair
from nexis_eval.repro.surroundings import UNKNOWN_SIDES, Sides, Surroundings

FIRST = Surroundings(
    "one", "ann", 1000, 1000, 0o022, "/build", "C.UTF-8", "UTC", 2, "6.1.0", "/w/a", "", (1.7e9, 1.7e9 + 9)
)
SECOND = Surroundings(
    hostname="vary-host",
    user="bob",
    uid=54321,
    gid=54320,
    umask=0o077,
    home="/tmp",
    locale="et_EE.UTF-8",
    timezone="NXT",
    cpus=1,
    kernel="2.6.61",
    directory="/w/b/c",
    noise="f00dcafe",
    clock=(1.8e9, 1.8e9 + 9),
    fill=(0x5B, 0xA4),
)
SIDES: Sides = (FIRST, SECOND)


def cause(before: bytes, after: bytes, sides: Sides = UNKNOWN_SIDES) -> Cause:
    view = open_pair("file", before, after, sides)
    assert view is not None
    return judge(view.all_evidence()).cause


@pytest.mark.parametrize("culprits", [None, (), ("path",)])
def test_a_build_id_that_is_all_that_differs_is_told_to_speak_of_what_was_stripped(
    culprits: tuple[str, ...] | None,
) -> None:
    build_id = Evidence(Cause.UNKNOWN, Strength.FOLLOWS, "the build id is 12 and 34")
    verdict = judge([build_id], culprits)
    if culprits:
        assert (verdict.cause, STRIPPED in verdict.why) == (Cause.PATH, False)
    else:
        assert verdict.cause is Cause.UNKNOWN
        assert verdict.why[-1] == STRIPPED
    assert STRIPPED not in judge([build_id, Evidence(Cause.UNKNOWN, Strength.HINT, "the flags are 1 and 2")]).why


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("built Nov 14 2023 22:13:20", "built Jan 15 2027 08:00:00", Cause.TIMESTAMP),
        ("2023-11-14T22:13:21Z", "2027-01-15T08:00:01Z", Cause.TIMESTAMP),
        ("stamp = 1700000003;", "stamp = 1800000004;", Cause.TIMESTAMP),
        ("version 20231114.1", "version 20270115.1", Cause.TIMESTAMP),
        ("by ann@one", "by bob@vary-host", Cause.IDENTITY),
        ("uid=1000", "uid=54321", Cause.IDENTITY),
        ("workers: 2", "workers: 1", Cause.CPU),
        ("mode 0644", "mode 0600", Cause.PERMISSIONS),
        ("-rw-r--r-- file", "-rw------- file", Cause.PERMISSIONS),
        ("cache=/build/.cache", "cache=/tmp/.cache", Cause.PATH),
        ("LANG=C.UTF-8", "LANG=et_EE.UTF-8", Cause.LOCALE),
        ("ratio 3.14", "ratio 3,14", Cause.LOCALE),
        ("kernel 6.1.0", "kernel 2.6.61", Cause.KERNEL),
        ("PATH=/usr/bin", "NEXIS_NOISE=f00dcafe", Cause.ENVIRONMENT),
        ("id 0b9d3f0e-6a52-4c5b-9ad8-0a1d2c3b4e5f", "id 7c1e2d3f-1b2a-4d5c-8e9f-a0b1c2d3e4f5", Cause.RANDOMNESS),
        ("at 0x7ffee4c0a010", "at 0x7ffd1a2b3c48", Cause.ADDRESS),
        ("from /tmp/tmp.AbCdEfGh/x.c", "from /tmp/tmp.ZyXwVuTs/x.c", Cause.PATH),
        ("a b c d", "d c b a", Cause.ORDER),
        ("one\ntwo\nthree\n", "three\none\ntwo\n", Cause.ORDER),
        ("completely", "different", Cause.UNKNOWN),
    ],
)
def test_texts(before: str, after: str, expected: Cause) -> None:
    assert cause(before.encode(), after.encode(), SIDES) is expected


def test_a_date_is_proof_only_if_the_build_could_have_seen_it() -> None:
    view = open_pair("f", b"at 1700000003", b"at 1800000003", SIDES)
    other = open_pair("f", b"at 1500000003", b"at 1600000003", SIDES)
    assert view and other
    assert [each.strength for each in view.all_evidence()] == [Strength.PROOF]
    assert [each.strength for each in other.all_evidence()] == [Strength.LIKELY]


def test_binary_times_pointers_and_fillings() -> None:
    head = bytes(range(200, 232))
    times = [head + struct.pack("<I", seconds) + head for seconds in (1_700_000_001, 1_800_000_001)]
    assert cause(times[0], times[1], SIDES) is Cause.TIMESTAMP
    pointers = [head + struct.pack("<Q", address) + head for address in (0x7F12_3456_7890, 0x7FAB_CDEF_0120)]
    assert cause(pointers[0], pointers[1]) is Cause.ADDRESS
    assert cause(head + bytes(7) + head, head + b"\x5b" * 7 + head, SIDES) is Cause.UNINITIALISED


def test_members_of_archives() -> None:
    def tar(names: list[str], mtime: int, uid: int, mode: int) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.mtime, member.uid, member.mode, member.size = mtime, uid, mode, len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
        return out.getvalue()

    plain = tar(["a", "b"], 1, 0, 0o644)
    assert cause(plain, tar(["b", "a"], 1, 0, 0o644)) is Cause.ORDER
    assert cause(plain, tar(["a", "b"], 9, 0, 0o644)) is Cause.TIMESTAMP
    assert cause(plain, tar(["a", "b"], 1, 7, 0o644)) is Cause.IDENTITY
    assert cause(plain, tar(["a", "b"], 1, 0, 0o600)) is Cause.PERMISSIONS


def test_the_same_parts_compressed_otherwise() -> None:
    def squeezed(level: int) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
            archive.writestr(zipfile.ZipInfo("a"), b"a text that is long enough " * 400, zipfile.ZIP_DEFLATED, level)
        return out.getvalue()

    view = open_pair("f.zip", squeezed(1), squeezed(9))
    assert view is not None
    assert "stored differently" in view.evidence[0].why


def test_a_trigger_overrules_looks_and_looks_refine_a_trigger() -> None:
    order = [Evidence(Cause.ORDER, Strength.PROOF, "same lines")]
    assert judge(order, ("random",)).cause is Cause.ORDER
    assert judge(order, ("locale",)).cause is Cause.LOCALE
    assert judge([], ("time",)).cause is Cause.RANDOMNESS
    assert judge([], ("hostname",)).cause is Cause.IDENTITY
    assert judge([], ()).cause is Cause.UNKNOWN
    both = judge_all([(("locale",), order), (("random",), order)])
    assert [(verdict.cause, verdict.culprits) for verdict in both] == [(Cause.ORDER, ("random", "locale"))]


def test_ranges() -> None:
    assert differing_ranges(b"aXbcYd" + bytes(9000) + b"1", b"a_bc_d" + bytes(9000) + b"2", join=1) == [
        (1, 2),
        (4, 5),
        (9006, 9007),
    ]


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("Nov 14 2023", 1699920000),
        ("Tue Nov 14 22:13:20 UTC 2023", 1700000000),
        ("14 Nov 2023 22:13:20", 1700000000),
        ("2023-11-14 22:13:20", 1700000000),
        ("20231114-221320", 1700000000),
        ("1700000000", 1700000000),
        ("1700000000123", 1700000000),
    ],
)
def test_moments(text: str, epoch: int) -> None:
    assert epoch in [moment.epoch for moment in moments(text)]


@pytest.mark.parametrize("text", ["version 12.34.56.78", "99999999", "0x1700000000f", "12345678901"])
def test_what_is_no_moment(text: str) -> None:
    assert [moment for moment in moments(text) if moment.epoch is not None] == []
