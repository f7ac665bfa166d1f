"""What ``version = "latest"`` is today: asked of release APIs, of the tags of repositories, of directory listings."""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from nexis_eval.config.values import VERSION_PATTERN
from nexis_eval.fetch.client import FetchError, shown
from nexis_eval.fetch.git import is_git_url, references
from nexis_eval.fetch.headers import said
from nexis_eval.fetch.transfer import attempt_error
from nexis_eval.fetch.url import download
from nexis_eval.lock.model import LockError
from nexis_eval.lock.versions import newest, newest_tag, split_tag
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import Platform
from nexis_eval.templates import FIELD, fields_of, values
from nexis_store.names import shown as printable

if TYPE_CHECKING:
    import httpx

TAGS = "refs/tags/"
VERSION_FIELDS = {
    "version": r"(?P<version>\d[0-9A-Za-z.+~_-]*?)",
    "version_minor": r"(?P<version_minor>\d+\.\d+)",
    "version_major": r"(?P<version_major>\d+)",
    "tag": r"(?P<tag>[^/]+?)",
}
_VERSION = re.compile(VERSION_PATTERN).fullmatch
MAX_LISTING_BYTES = 16 << 20
_TAG = re.compile(r"[^\s\x00-\x20\x7f~^:?*\[\\]{1,200}").fullmatch
"""What git allows in the name of a tag (git-check-ref-format), and no other thing that a server may send."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version, and the tag that stands for it where there is one."""

    version: str
    tag: str = ""

    def __post_init__(self) -> None:
        """Raises ``LockError``: what upstream says becomes a part of names and scripts."""
        if (self.version and not _VERSION(self.version)) or (self.tag and not _TAG(self.tag)):
            raise LockError(
                f"what upstream has as the latest version, '{printable((self.tag or self.version)[:80])}', is none",
                hint='write the version that you want in place of "latest"',
            )


@dataclass(frozen=True, slots=True)
class Forge:
    """A project on a web forge: where its releases are listed (tried in order), and its repository."""

    apis: tuple[str, ...]
    repository: str


def forge_of(template: str) -> Forge | None:
    """The project that a release's or an archive's URL belongs to; ``None`` for any other URL.

    GitHub: ``/O/R/releases/download/…`` and ``/O/R/archive/…``; Forgejo and Gitea the same on any host; GitLab:
    ``/GROUP/…/PROJECT/-/…``.
    """
    parts = urlsplit(template)
    if parts.scheme not in ("http", "https"):
        return None
    origin = f"{parts.scheme}://{parts.netloc}"
    project, separator, _ = parts.path.strip("/").partition("/-/")
    if separator:
        return Forge((f"{origin}/api/v4/projects/{quote(project, safe='')}/releases",), f"{origin}/{project}.git")
    match = re.match(r"/([^/{}]+/[^/{}]+)/(?:releases/download|archive|tarball|zipball)/", parts.path)
    if match is None:
        return None
    path = f"repos/{match[1]}/releases/latest"
    # Forgejo and Gitea speak v1, GitHub on a company's own host v3.
    if parts.netloc == "github.com":
        apis: tuple[str, ...] = (f"https://api.github.com/{path}",)
    else:
        apis = (f"{origin}/api/v1/{path}", f"{origin}/api/v3/{path}")
    return Forge(apis, f"{origin}/{match[1]}.git")


async def latest(
    templates: Sequence[str],
    *,
    name: str,
    platform: Platform,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
) -> Release:
    """The newest release of the project that ``templates`` are URLs of; raises ``FetchError``."""
    failures: list[str] = []
    for template in templates:
        try:
            found = await _latest(template, name, platform, mirrors, client, failures)
        except FetchError as error:
            failures.append("  " + error.message.replace("\n", "\n  "))
            continue
        if found is not None:
            return found
    # Several URLs of one project ask the same repository.
    tried = "\n".join(dict.fromkeys(failures))
    raise FetchError(
        f"cannot find out what the latest version of '{name}' is" + (f"; tried\n{tried}" if tried else ""),
        hint='write the version that you want in place of "latest"',
    )


async def _latest(
    template: str, name: str, platform: Platform, mirrors: Mirrors, client: httpx.AsyncClient, failures: list[str]
) -> Release | None:
    if is_git_url(template):
        return await _from_tags(template, name, mirrors, client, failures)
    forge = forge_of(template)
    if forge is not None:
        for api in forge.apis:
            tag = await _from_api(api, client, failures)
            if tag is not None:
                parts = split_tag(tag)
                return Release(parts[1] if parts else tag, tag)
        return await _from_tags(forge.repository, name, mirrors, client, failures)
    if fields_of(template) & VERSION_FIELDS.keys():
        return await _from_listing(template, name, platform, mirrors, client, failures)
    failures.append(f"  {shown(template)}: the URL has no field for the version, such as {{version}}")
    return None


async def _from_tags(
    url: str, name: str, mirrors: Mirrors, client: httpx.AsyncClient, failures: list[str]
) -> Release | None:
    found = await references((url,), (TAGS,), mirrors=mirrors, client=client)
    newest_found = newest_tag((each.name.removeprefix(TAGS) for each in found), name)
    if newest_found is None:
        failures.append(f"  {shown(url)}: has no tags that look like versions")
        return None
    return Release(*newest_found)


async def _from_api(api: str, client: httpx.AsyncClient, failures: list[str]) -> str | None:
    """The tag of the latest release as a forge's API tells it; ``None`` if it has none, or is no such forge."""
    import httpx

    try:
        response, body = await _answer(api, client)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        failures.append(f"  {shown(api)}: {attempt_error(error)}")
        return None
    if response.status_code != 200:
        reason = f"{response.status_code} {said(response.reason_phrase)}".strip()
        if response.headers.get("X-RateLimit-Remaining") == "0" or response.status_code == 429:
            reason += f": too many questions; a token for {urlsplit(api).hostname} in ~/.netrc raises the limit"
        failures.append(f"  {shown(api)}: {reason}")
        return None
    try:
        answer: Any = json.loads(body)
        if isinstance(answer, list):
            answer = next((each for each in answer if not each.get("upcoming_release")), {})
        tag = answer.get("tag_name")
    except (ValueError, AttributeError, RecursionError):
        tag = None
    if not isinstance(tag, str) or not _TAG(tag):
        failures.append(f"  {shown(api)}: no release")
        return None
    return tag


async def _answer(api: str, client: httpx.AsyncClient) -> tuple[httpx.Response, bytes]:
    """The head and the body of an answer, up to what a list of releases may have."""
    import httpx

    async with client.stream("GET", api, headers={"Accept": "application/json"}) as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_LISTING_BYTES:
                raise httpx.RemoteProtocolError(f"the answer is larger than {MAX_LISTING_BYTES:,} bytes")
        return response, bytes(body)


async def _from_listing(
    template: str, name: str, platform: Platform, mirrors: Mirrors, client: httpx.AsyncClient, failures: list[str]
) -> Release | None:
    """Walk down a web server's directories, taking the newest at each step."""
    known = values(name=name, version="", platform=platform)
    fixed = FIELD.sub(lambda match: match[0] if match[1] in VERSION_FIELDS else known.get(match[1], match[0]), template)
    scheme, _, rest = fixed.partition("://")
    base, *segments = rest.split("/")
    url = f"{scheme}://{base}"
    found: dict[str, str] = {}
    for index, segment in enumerate(segments):
        if not fields_of(segment):
            url = f"{url}/{segment}"
            continue
        pattern = re.compile(
            "".join(
                VERSION_FIELDS[part] if place % 2 else re.escape(part)
                for place, part in enumerate(FIELD.split(segment))
            )
        )
        names = await _listing(f"{url}/", mirrors, client)
        matches = {each: match for each in names if (match := pattern.fullmatch(each)) is not None}
        by_version = {next(iter(match.groupdict().values())): each for each, match in matches.items()}
        best = newest(by_version)
        if best is None:
            failures.append(f"  {shown(url)}/: lists nothing like '{segment}'")
            return None
        found.update(matches[by_version[best]].groupdict())
        url = f"{url}/{by_version[best]}"
        if index + 1 < len(segments) and "version" in found and not fields_of("/".join(segments[index + 1 :])):
            break
    version = found.get("version") or found.get("tag") or ""
    return Release(version) if version else None


async def _listing(url: str, mirrors: Mirrors, client: httpx.AsyncClient) -> set[str]:
    """The names that a directory's page links to."""
    with tempfile.TemporaryDirectory(prefix="nexis-listing-") as directory:
        path = Path(directory) / "page"
        await download((url,), path, mirrors=mirrors, client=client, limit=MAX_LISTING_BYTES)
        with path.open(errors="replace") as page:
            text = page.read()
    links = re.findall(r"""href\s*=\s*["']?([^"'\s>]+)""", text, re.I)
    return {unquote(html.unescape(each).partition("?")[0].rstrip("/").rpartition("/")[2]) for each in links} - {""}
