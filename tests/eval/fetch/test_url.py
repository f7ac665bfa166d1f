"""Downloads from real servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import lzma
import os
import random
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from nexis_eval.fetch import client as client_module
from nexis_eval.fetch import pace
from nexis_eval.fetch import url as url_module
from nexis_eval.fetch.client import FetchError, NetrcError, SecretInUrlError, new_client
from nexis_eval.fetch.proxies import NetworkSettingError
from nexis_eval.fetch.transfer import Received
from nexis_eval.fetch.unpacked import archive_tree
from nexis_eval.fetch.url import download, fetch
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors, UnknownMirrorError
from nexis_store.errors import NexisError
from tests.eval.fetch.servers import Site, raw_server, site

DATA = random.Random(1).randbytes(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


def wanted(*urls: str, **changes: object) -> Fetch:
    settings: dict[str, object] = {"algorithm": "sha256", "hash": SHA256, "filename": "x.bin", "size": len(DATA)}
    return Fetch(urls, **{**settings, **changes})  # type: ignore[arg-type]


def get(
    tmp_path: Path, source: Fetch, sets: dict[str, tuple[str, ...]] | None = None, progress: object = None
) -> bytes:
    directory = tmp_path / "fetched"
    directory.mkdir(exist_ok=True)
    path = asyncio.run(fetch(source, directory, mirrors=Mirrors(sets or {}), progress=progress))  # type: ignore[arg-type]
    assert path == directory / source.filename
    assert sorted(tmp_path.glob("*.partial")) == []
    return path.read_bytes()


def error(tmp_path: Path, source: Fetch, sets: dict[str, tuple[str, ...]] | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        get(tmp_path, source, sets)
    assert list((tmp_path / "fetched").iterdir()) == []
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_one_file(tmp_path: Path, site: Site) -> None:
    seen: list[tuple[int, int | None]] = []
    page = site.page("/x.bin", DATA)
    assert get(tmp_path, wanted(page), progress=lambda *now: seen.append(now)) == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
def test_every_hash_algorithm(tmp_path: Path, site: Site, algorithm: str) -> None:
    digest = (blake3(DATA) if algorithm == "blake3" else hashlib.new(algorithm, DATA)).hexdigest()
    assert get(tmp_path, wanted(site.page("/x.bin", DATA), algorithm=algorithm, hash=digest)) == DATA


def test_a_size_that_nobody_told(tmp_path: Path, site: Site) -> None:
    assert get(tmp_path, wanted(site.page("/x.bin", DATA, chunked=True), size=None)) == DATA


def test_goes_on_where_it_broke_off(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, cut_at=[300_000, 200_000])
    assert get(tmp_path, wanted(page)) == DATA
    ranges = [each.headers.get("Range") for each in site.asked("/x.bin")]
    assert ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_starts_over_where_the_server_knows_no_ranges(tmp_path: Path, site: Site) -> None:
    assert get(tmp_path, wanted(site.page("/x.bin", DATA, cut_at=[300_000], ranges=False))) == DATA


def test_chunks_that_break_off(tmp_path: Path, site: Site) -> None:
    assert get(tmp_path, wanted(site.page("/x.bin", DATA, cut_at=[262_144], chunked=True), size=None)) == DATA


def test_a_second_mirror_finishes_what_the_first_began(tmp_path: Path, site: Site) -> None:
    first = site.page("/a/x.bin", DATA, cut_at=[300_000, 10])
    second = site.page("/b/x.bin", DATA)
    assert get(tmp_path, wanted(first, second)) == DATA
    assert [each.headers.get("Range") for each in site.asked("/b/x.bin")] == ["bytes=300010-"]


def test_halves_of_two_files_are_not_taken_for_one(tmp_path: Path, site: Site) -> None:
    first = site.page("/a/x.bin", bytes(len(DATA)), cut_at=[300_000, 10])
    second = site.page("/b/x.bin", DATA)
    assert get(tmp_path, wanted(first, second)) == DATA
    assert [each.headers.get("Range") for each in site.asked("/b/x.bin")] == ["bytes=300010-", None]


def test_busy_servers_are_asked_again(tmp_path: Path, site: Site) -> None:
    assert get(tmp_path, wanted(site.page("/x.bin", DATA, failures=[503, 500]))) == DATA
    assert len(site.asked("/x.bin")) == 3


def test_a_server_may_say_how_long_to_wait(tmp_path: Path, site: Site) -> None:
    started = time.monotonic()
    assert get(tmp_path, wanted(site.page("/x.bin", DATA, failures=[429], headers={"Retry-After": "1"}))) == DATA
    assert time.monotonic() - started >= 1


def test_redirects(tmp_path: Path, site: Site) -> None:
    site.page("/there.bin", DATA)
    assert get(tmp_path, wanted(site.page("/x.bin", status=302, headers={"Location": "/there.bin"}))) == DATA


def test_redirects_without_end(tmp_path: Path, site: Site) -> None:
    loop = site.page("/loop", status=302, headers={"Location": "/loop"})
    assert "redirects without end" in error(tmp_path, wanted(loop))


def test_the_error_names_every_url_and_its_reason(tmp_path: Path, site: Site) -> None:
    gone = f"{site.url}/gone.bin"
    wrong = site.page("/wrong.bin", DATA[::-1])
    short = site.page("/short.bin", DATA[:1000])
    text = error(tmp_path, wanted(gone, wrong, short, "file:///no/such.bin", "ftp://host/x.bin"))
    found = hashlib.sha256(DATA[::-1]).hexdigest()
    assert text.splitlines() == [
        "cannot fetch x.bin; tried",
        f"  {gone}: 404 Not Found",
        f"  {wrong}: wrong hash: sha256:{SHA256} was expected, sha256:{found} came (700,000 bytes).",
        f"  {short}: the file has 1,000 bytes there, 700,000 were expected",
        "  file:///no/such.bin: No such file or directory",
        "  ftp://host/x.bin: 'ftp' is not a scheme of files (http, https, file and mirror are)",
        "hint: where upstream has moved or replaced it, name another URL in the configuration, or pin what is there "
        "now: 'nexis-eval lock --update PACKAGE'",
    ]
    assert len(site.asked("/gone.bin")) == 1


def test_a_web_page_in_place_of_a_file(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", b"<html>log in", headers={"Content-Type": "text/html"})
    assert "It is a web page." in error(tmp_path, wanted(page, size=None))


def test_more_than_was_announced(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, chunked=True)
    assert "larger than the 1,000 bytes that are allowed" in error(tmp_path, wanted(page, size=1000))


def test_no_server(tmp_path: Path) -> None:
    with site() as server:
        page = server.page("/x.bin")
    assert f"{page}: no connection (is there a network?)" in error(tmp_path, wanted(page))


def test_no_such_host(tmp_path: Path) -> None:
    assert "the host name is not known" in error(tmp_path, wanted("http://no-such-host.invalid/x.bin"))


def test_a_silent_server(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "READ_TIMEOUT_SECONDS", 0.1)
    page = site.page("/x.bin", DATA, pause_seconds=1.0)
    good = site.page("/y.bin", DATA)
    assert get(tmp_path, wanted(page, good)) == DATA


def test_mirror_sets(tmp_path: Path, site: Site) -> None:
    site.page("/two/pool/x.bin", DATA)
    sets = {"own": (f"{site.url}/one", f"{site.url}/two/")}
    assert get(tmp_path, wanted("mirror://own/pool/x.bin"), sets) == DATA
    assert [each.path for each in site.requests] == ["/one/pool/x.bin", "/two/pool/x.bin"]
    with pytest.raises(UnknownMirrorError, match="no mirror set is called 'other'"):
        get(tmp_path, wanted("mirror://other/x.bin"), sets)


def test_files(tmp_path: Path) -> None:
    source = tmp_path / "with space.bin"
    source.write_bytes(DATA)
    assert get(tmp_path, wanted(source.as_uri())) == DATA


def test_passwords_come_from_netrc(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    page = site.page("/x.bin", DATA, password=("me", "s3cret"))
    assert "401 Unauthorized (passwords are read from ~/.netrc)" in error(tmp_path, wanted(page))
    netrc = tmp_path / "home" / ".netrc"
    netrc.parent.mkdir(exist_ok=True)
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    netrc.chmod(0o600)
    assert get(tmp_path, wanted(page)) == DATA
    broken = tmp_path / "broken"
    broken.write_text("machine 127.0.0.1 logn\n")
    monkeypatch.setenv("NETRC", str(broken))
    with pytest.raises(NetrcError):
        get(tmp_path, wanted(page))


def test_passwords_do_not_follow_redirects_to_other_hosts(tmp_path: Path, site: Site) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.parent.mkdir(exist_ok=True)
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    site.page("/x.bin", DATA)
    elsewhere = f"http://localhost:{site.port}/x.bin"
    page = site.page("/from", status=302, headers={"Location": elsewhere}, password=("me", "s3cret"))
    assert get(tmp_path, wanted(page)) == DATA
    assert "Authorization" not in site.asked("/x.bin")[0].headers


def test_passwords_in_urls_are_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SecretInUrlError) as caught:
        get(tmp_path, wanted("https://me:s3cret@example.org/x.bin?token=t0ken"))
    assert "s3cret" not in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "https://example.org/x.bin" in str(caught.value)


def test_tokens_of_mirrors_are_not_shown(tmp_path: Path, site: Site) -> None:
    sets = {"own": (f"http://me:s3cret@127.0.0.1:{site.port}",)}
    text = error(tmp_path, wanted("mirror://own/x.bin?token=t0ken"), sets)
    assert "404" in text
    assert "s3cret" not in text
    assert "t0ken" not in text


def test_proxies_of_the_environment(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["http://far.invalid/x.bin"] = site.pages[site.page("/x.bin", DATA).removeprefix(site.url)]
    monkeypatch.setenv("http_proxy", site.url)
    assert get(tmp_path, wanted("http://far.invalid/x.bin")) == DATA


def archive(names: dict[str, bytes], mtime: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_a_recompressed_archive_is_recognised_by_its_content(tmp_path: Path, site: Site) -> None:
    content = {"x-1/a": b"a", "x-1/d/b": b"b"}
    before = gzip.compress(archive(content, 1))
    after = lzma.compress(archive(dict(reversed(content.items())), 2))
    kept = tmp_path / "kept.tar.gz"
    kept.write_bytes(before)
    tree = archive_tree(kept)
    source = wanted(
        site.page("/x.tar", after), hash=hashlib.sha256(before).hexdigest(), size=None, tree=tree, filename="x.tar"
    )
    assert get(tmp_path, source) == after
    site.page("/x.tar", gzip.compress(archive({**content, "x-1/a": b"evil"}, 1)))
    (tmp_path / "fetched" / "x.tar").unlink()
    assert "wrong hash" in error(tmp_path, source)


def test_many_at_once_share_connections(tmp_path: Path, site: Site) -> None:
    count = 40
    pages = [site.page(f"/{number}", DATA[number:]) for number in range(count)]

    async def all_of_them() -> None:
        async with new_client() as client:
            await asyncio.gather(*map(one, range(count), [client] * count))

    async def one(number: int, client: object) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        data = DATA[number:]
        source = wanted(pages[number], hash=hashlib.sha256(data).hexdigest(), size=len(data), filename="x")
        await fetch(source, directory, mirrors=Mirrors({}), client=client)  # type: ignore[arg-type]

    asyncio.run(all_of_them())
    assert {(tmp_path / str(number) / "x").stat().st_size for number in range(count)} == {
        len(DATA) - number for number in range(count)
    }


def test_downloads_without_a_known_hash(tmp_path: Path, site: Site) -> None:
    async def run(page: str) -> tuple[str, int]:
        async with new_client() as client:
            received = await download((page,), tmp_path / "x", mirrors=Mirrors({}), client=client)
            return received.hash, received.size

    (tmp_path / "x").write_bytes(b"of an earlier run")
    assert asyncio.run(run(site.page("/x.bin", DATA, cut_at=[1000]))) == (SHA256, len(DATA))
    with pytest.raises(FetchError, match="404 Not Found"):
        asyncio.run(run(f"{site.url}/nothing"))


def test_what_came_before_cancelling_is_kept_for_the_next_run(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, pause_seconds=0.2)
    (tmp_path / "fetched").mkdir()
    came = asyncio.Event()

    async def run() -> None:
        source = wanted(page)
        task = asyncio.create_task(
            fetch(source, tmp_path / "fetched", mirrors=Mirrors({}), progress=lambda *_: came.set())
        )
        await came.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(run())
    assert list((tmp_path / "fetched").iterdir()) == []
    (kept,) = (tmp_path / "home/.cache/nexis/partial").iterdir()
    size = kept.stat().st_size
    assert DATA[:size] == kept.read_bytes() != b""
    site.page("/x.bin", DATA)
    assert get(tmp_path, wanted(page)) == DATA
    assert site.requests[-1].headers.get("Range") == f"bytes={size}-"
    assert list(kept.parent.iterdir()) == []


def test_a_server_that_closes_every_60_kilobytes(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, cut_at=[60_000] * 20)
    assert get(tmp_path, wanted(page)) == DATA
    assert len(site.requests) == 12
    site.requests.clear()
    assert pinned(tmp_path, site.page("/y.bin", DATA, cut_at=[60_000] * 20)).hash == SHA256
    assert len(site.requests) == 12


def test_a_server_that_ends_early_each_time_is_given_up(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, cut_at=[60_000] * 20, ranges=False)
    assert "the connection broke off" in error(tmp_path, wanted(page))
    assert len(site.requests) < 12


def test_a_wrong_file_in_pieces_is_given_up(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA[::-1], cut_at=[60_000] * 100)
    assert "wrong hash" in error(tmp_path, wanted(page))


def pinned(tmp_path: Path, page: str) -> Received:
    async def run() -> Received:
        async with new_client() as client:
            return await download((page,), tmp_path / "pinned", mirrors=Mirrors({}), client=client)

    return asyncio.run(run())


def test_halves_of_a_file_that_changes_meanwhile_are_not_put_together(tmp_path: Path, site: Site) -> None:
    """Without a known hash only the server can say that it is the same file still."""
    after = DATA[::-1]
    path = "/x.bin"
    page = site.page(path, DATA, cut_at=[300_000], headers={"ETag": '"before"'})
    first = site.pages[path]

    class Replaced(list[int]):
        def pop(self, _index: int = -1) -> int:  # type: ignore[override]
            site.page(path, after, headers={"ETag": '"after"'})
            return 300_000

    first.cut_at = Replaced([300_000])
    assert pinned(tmp_path, page).hash == hashlib.sha256(after).hexdigest()
    assert site.requests[-1].headers.get("If-Range") == '"before"'


def test_the_partial_file_of_somebody_else_is_left_alone(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, pause_seconds=0.05)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    async def run() -> None:
        await asyncio.gather(
            *(fetch(wanted(page), tmp_path / each, mirrors=Mirrors({})) for each in ("one", "two")),
        )

    asyncio.run(run())
    for each in ("one", "two"):
        assert (tmp_path / each / "x.bin").read_bytes() == DATA


def test_old_partial_files_are_forgotten(tmp_path: Path, site: Site) -> None:
    old = tmp_path / "home/.cache/nexis/partial/sha256-old"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert get(tmp_path, wanted(site.page("/x.bin", DATA))) == DATA
    assert not old.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes {'9' * 5000}-1/2"},
        {"Content-Range": "bytes \u00b2-1/2"},
        {"Content-Range": "lines 1-2"},
        {"Content-Length": "9" * 5000},
        {"Content-Length": "\u00b2"},
        {"Content-Length": "-1"},
        {"Retry-After": "9" * 5000},
        {"Retry-After": "\u00b2"},
        {"Retry-After": "Fri, 99 Foo 99999 99:99:99 GMT"},
        {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"},
        {"Location": "http://127.0.0.1:99999/x"},
        {"Location": f"http://127.0.0.1:{'9' * 5000}/x"},
        {"Location": "http://127.0.0.1:0/x"},
        {"Location": "http://[::1/x"},
        {"Location": "http://\u00b2\u00ff/x"},
        {"Location": "http:///"},
        {"Location": "ftp://127.0.0.1/x"},
        {"Location": "\x7f" * 100},
        {"ETag": "\u00ff" * 100, "Content-Type": "\u00b2"},
        {"Content-Encoding": "\u00b2"},
        {"Transfer-Encoding": "\u00b2"},
    ],
    ids=lambda headers: "-".join(f"{name}-{value[:24]!a}" for name, value in headers.items()),
)
@pytest.mark.parametrize("status", [200, 206, 302, 429])
def test_absurd_headers_are_a_failed_download(
    tmp_path: Path, site: Site, headers: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a server says, it is told as what went wrong with that URL, and the next one is tried."""
    monkeypatch.setattr("nexis_eval.fetch.transfer.MAX_RETRY_AFTER_SECONDS", 0.01)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = f"HTTP/1.1 {status} Fine\r\n{lines}Connection: close\r\n\r\nx".encode("latin-1")
    with raw_server(lambda connection: connection.sendall(answer)) as bad:
        text = error(tmp_path, wanted(f"{bad}/x.bin"))
        assert len(text) < 1000
        assert text.replace("\n", "").isprintable()
        good = site.page("/x.bin", DATA)
        assert get(tmp_path, wanted(f"{bad}/x.bin", good)) == DATA


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("total", [str(len(DATA)), "*", "9" * 5000])
def test_a_part_that_nobody_asked_for_is_not_the_whole(tmp_path: Path, total: str, known: bool) -> None:
    """Something on the way answers 206 with the beginning of the file; what is missing is asked for."""
    starts: list[int] = []

    def part(connection: socket.socket) -> None:
        starts.append(start := len(starts) * 400_000)
        body = DATA[start : start + 400_000]
        lines = f"Content-Range: bytes {start}-{start + len(body) - 1}/{total}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f'HTTP/1.1 206 Part\r\n{lines}ETag: "1"\r\nConnection: close\r\n\r\n'.encode() + body)

    async def pinned(page: str) -> Received:
        async with new_client() as client:
            return await download((page,), tmp_path / "x", mirrors=Mirrors({}), client=client)

    with raw_server(part) as server:
        if known:
            assert get(tmp_path, wanted(f"{server}/x.bin")) == DATA
            return
        received = asyncio.run(pinned(f"{server}/x.bin"))
        assert received.announced == (total == str(len(DATA)))
        assert not received.announced or received.hash == SHA256


def test_what_servers_say_is_short_and_without_control_characters(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 500 \x9b2J" + b"x" * 50_000 + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with raw_server(lambda connection: connection.sendall(answer)) as bad:
        text = error(tmp_path, wanted(f"{bad}/x.bin"))
    assert len(text) < 1000
    assert "\x9b" not in text


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999/x", "http://[::1/x", "http://h:port/x", "http://\u2100/x"])
def test_urls_that_are_none(tmp_path: Path, address: str) -> None:
    with pytest.raises(NexisError) as caught:
        get(tmp_path, wanted(address))
    assert caught.value.exit_code == 3
    assert "127.0.0.1:99999" in str(caught.value) or "not a URL" in str(caught.value)


def trickle(head: bytes, body: bytes) -> Callable[[socket.socket], None]:
    """Sends the head of an answer at once or byte by byte, then the body byte by byte, without end."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            for each in body:
                connection.sendall(bytes((each,)))
                time.sleep(0.02)

    return answer


ENDLESS = b"HTTP/1.1 200 Fine\r\nContent-Length: 700000\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        (ENDLESS, b"x", "less than 1,000 bytes a second"),
        (b"HTTP/1.1 302 There\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "less than"),
        (b"HTTP/1.1 200 Fine\r\n", b"X: y\r\n", "the answer did not begin in time"),
        (b"", b"H", "the answer did not begin in time"),
    ],
    ids=["body", "body of a redirect", "headers", "status"],
)
def test_a_server_that_is_too_slow_is_given_up(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, head: bytes, body: bytes, why: str
) -> None:
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.5)
    monkeypatch.setattr(client_module, "ANSWER_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(url_module, "ROUNDS", 1)
    with raw_server(trickle(head, body)) as slow:
        assert why in error(tmp_path, wanted(f"{slow}/x.bin"))
        good = site.page("/x.bin", DATA)
        assert get(tmp_path, wanted(f"{slow}/x.bin", good)) == DATA


def test_the_least_rate_is_configured(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.1)
    page = site.page("/x.bin", DATA, pause_seconds=0.2)
    monkeypatch.setattr(url_module, "ROUNDS", 1)
    monkeypatch.setenv("NEXIS_LEAST_RATE", "100000000")
    assert "less than 100,000,000 bytes a second" in error(tmp_path, wanted(page))
    monkeypatch.setenv("NEXIS_LEAST_RATE", "0")
    assert get(tmp_path, wanted(page)) == DATA
    monkeypatch.setenv("NEXIS_LEAST_RATE", "fast")
    with pytest.raises(NetworkSettingError, match="NEXIS_LEAST_RATE: 'fast' is not a number of bytes a second"):
        get(tmp_path, wanted(page))


def test_redirects_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_module, "ROUNDS", 1)

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 There\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    with raw_server(answer) as endless:
        assert "the answer that redirects is endless" in error(tmp_path, wanted(f"{endless}/x.bin"))
