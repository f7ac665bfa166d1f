"""Downloads from real servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import time
from pathlib import Path

import pytest
from blake3 import blake3

from nexis_eval.fetch import client as client_module
from nexis_eval.fetch.client import FetchError, NetrcError, SecretInUrlError, new_client
from nexis_eval.fetch.unpacked import archive_tree
from nexis_eval.fetch.url import download, fetch
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors, UnknownMirrorError
from tests.eval.fetch.servers import Site, site

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
    first = site.page("/a/x.bin", DATA, cut_at=[300_000])
    second = site.page("/b/x.bin", DATA)
    assert get(tmp_path, wanted(first, second)) == DATA
    assert [each.headers.get("Range") for each in site.asked("/b/x.bin")] == ["bytes=300000-"]


def test_halves_of_two_files_are_not_taken_for_one(tmp_path: Path, site: Site) -> None:
    first = site.page("/a/x.bin", bytes(len(DATA)), cut_at=[300_000])
    second = site.page("/b/x.bin", DATA)
    assert get(tmp_path, wanted(first, second)) == DATA
    assert [each.headers.get("Range") for each in site.asked("/b/x.bin")] == ["bytes=300000-", None]


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
    netrc.parent.mkdir()
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
    netrc.parent.mkdir()
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
            return await download((page,), tmp_path / "x", mirrors=Mirrors({}), client=client)

    (tmp_path / "x").write_bytes(b"of an earlier run")
    assert asyncio.run(run(site.page("/x.bin", DATA, cut_at=[1000]))) == (SHA256, len(DATA))
    with pytest.raises(FetchError, match="404 Not Found"):
        asyncio.run(run(f"{site.url}/nothing"))


def test_cancelling_leaves_nothing_behind(tmp_path: Path, site: Site) -> None:
    page = site.page("/x.bin", DATA, pause_seconds=0.2)
    (tmp_path / "fetched").mkdir()

    async def run() -> None:
        task = asyncio.create_task(fetch(wanted(page), tmp_path / "fetched", mirrors=Mirrors({})))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(run())
    assert [each.name for each in tmp_path.iterdir()] == ["fetched"]
