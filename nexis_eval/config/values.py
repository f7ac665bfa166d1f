"""The kinds of values that settings take: host names, URLs, hashes, file modes … Pure."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nexis_eval.config import errors
from nexis_eval.config.kinds import (
    UNPRINTABLE,
    Kind,
    fail,
    integer,
    list_of,
    one_or_list_of,
    quoted,
    table_of,
    text,
    wrong_type,
)
from nexis_eval.config.model import LocalPath
from nexis_eval.platforms import ALIASES, PLATFORMS
from nexis_eval.secrets import Secret
from nexis_eval.sri import from_sri, is_sri
from nexis_eval.templates import FIELD, file_name
from nexis_store.names import why_bad_file_name, why_bad_path
from nexis_store.suggest import did_you_mean


def _any_text(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string", value)
    if "\0" in value:
        fail(errors.TextError, "a NUL character cannot stand in a text", "neither programs nor files of text take it")
    return value


def _boolean(value: object, _directory: str) -> object:
    if type(value) is not bool:
        wrong_type("a boolean", value)
    return value


def _free(value: object, directory: str) -> object:
    """Any value without dates: what templates and rules are given."""
    if type(value) is list:
        return tuple([_free(each, directory) for each in value])
    if type(value) is dict:
        return {key: _free(each, directory) for key, each in value.items()}
    if type(value) is str:
        return _any_text(value, directory)
    if isinstance(value, (bool, int, float)):
        return value
    wrong_type("a string, number, boolean, list or table", value, "write the date as a string")


def _option(value: object, directory: str) -> object:
    """Like ``_free``, and ``{ file = "path" }`` is a file of the user's own."""
    if type(value) is dict and value.keys() == {"file"}:
        return _local_path(value["file"], directory)
    return _free(value, directory)


def _local_path(value: object, directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (the path of a file)", value)
    if not value:
        fail(errors.TextError, "an empty string is not the path of a file", "write a path relative to this file")
    if not value.isprintable():
        fail(errors.TextError, "a control character cannot stand in the path of a file", "give the file another name")
    return LocalPath(value, Path(os.path.normpath(os.path.join(directory, value))))  # noqa: PTH118 - 5 times faster


def _mode(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string of octal digits", value, 'write "0644" for rw-r--r--' if isinstance(value, int) else None)
    if not _OCTAL(value):
        fail(errors.ModeError, f"{quoted(value)} is not a file mode", 'three or four octal digits, such as "0644"')
    return int(value, 8)


_OCTAL = re.compile(r"[0-7]{3,4}").fullmatch


def _architecture(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (an architecture)", value, f"one of {', '.join(PLATFORMS)}")
    arch = ALIASES.get(value, value)
    if arch not in PLATFORMS:
        hint = did_you_mean(value, (*PLATFORMS, *ALIASES), f"one of {', '.join(PLATFORMS)}")
        fail(errors.UnknownArchitectureError, f"unknown architecture '{value}'", hint)
    return arch


def _restart(value: object, _directory: str) -> object:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is not str:
        wrong_type("a boolean or a string", value, 'write true, false or "on-failure"')
    known = {"true": "true", "yes": "true", "false": "false", "no": "false", "on-failure": "on-failure"}
    if value not in known:
        fail(
            errors.ChoiceError,
            f"{quoted(value)} is not among the choices",
            'write true, false or "on-failure"',
        )
    return known[value]


_INTERFACE = r"(?![.-])[A-Za-z0-9_.-]{1,15}"
_ZONE = re.compile(rf"%{_INTERFACE}(?:/|\Z)")


def _check_zone(address: str) -> None:
    """Refuse an IPv6 address whose zone is not the name of an interface, such as ``fe80::1%$(id)``."""
    if "%" in address and not _ZONE.search(address):
        raise ValueError(address)


def _address(value: object, _directory: str) -> object:
    import ipaddress

    if type(value) is not str:
        wrong_type("a string (an IP address)", value)
    try:
        ipaddress.ip_address(value)
        _check_zone(value)
    except ValueError:
        fail(errors.AddressError, f"{quoted(value)} is not an IP address", "such as 192.168.1.1 or fd00::1")
    return value


def _interface_address(value: object, _directory: str) -> object:
    import ipaddress

    if type(value) is not str:
        wrong_type("a string (an IP address with its prefix length)", value)
    try:
        ipaddress.ip_interface(value)
        _check_zone(value)
    except ValueError:
        fail(
            errors.AddressError,
            f"{quoted(value)} is not an IP address with prefix length",
            "such as 192.168.1.100/24 or fd00::100/64",
        )
    if "/" not in value:
        fail(errors.AddressError, f"{quoted(value)} has no prefix length", f'such as "{value}/24"')
    return value


URL_SCHEMES = ("https", "http", "mirror", "git+https", "git+http", "git+ssh", "git", "file", "git+file")
_SCHEMES = frozenset(URL_SCHEMES)
_URL_REST = re.compile(r"[^\s/\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*|/[^\s\x00-\x1f\x7f]+").fullmatch
_PLAIN_URL = re.compile(
    r"[A-Za-z0-9.{}_-]+/(?:[A-Za-z0-9+.~{}_=@,-]+/)*[A-Za-z0-9+~{}_-][A-Za-z0-9+.~{}_-]{0,99}"
).fullmatch
"""What follows the scheme in most URLs."""
_ESCAPED_CONTROL = re.compile(r"%(?:[01][0-9a-f]|7f)", re.IGNORECASE).search


def _check_url(url: str, scheme: str) -> None:
    """Refuse what can be no URL, and what names no file."""
    from urllib.parse import urlsplit

    login = re.split("[/?#]", url[len(scheme) + 3 :], maxsplit=1)[0].rpartition("@")[0]
    if ":" in login or (login and scheme in ("http", "https", "git+http", "git+https")):
        fail(
            errors.UrlSecretError,
            "the URL is written with a password in it",
            "take it out, and put it into ~/.netrc: machine HOST login USER password …",
        )
    whole = FIELD.sub("1", url)
    try:
        parts = urlsplit(whole)
        _ = parts.port
    except ValueError as error:
        fail(errors.UrlError, f"{quoted(url)} is not a URL: {str(error)[:80]}", "is its host, or its port, right?")
    if _ESCAPED_CONTROL(url):
        fail(errors.UrlError, f"{quoted(url)} has a control character", "%00 to %1F and %7F stand for those")
    if scheme.startswith("git") or parts.path.endswith(".git"):
        return
    why = why_bad_file_name(file_name(whole))
    if why is not None:
        fail(errors.UrlError, f"the last part of {quoted(url)} is not the name of a file: {why}", _NAME_HINT)


_NAME_HINT = "the download is kept under that name: %2F and '..' lead elsewhere, and 255 bytes are the most"


def _url(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (a URL)", value)
    scheme, colon, rest = value.partition("://")
    if scheme in _SCHEMES and _URL_REST(rest):
        if not _PLAIN_URL(rest):
            _check_url(value, scheme)
        return value
    if not colon:
        fail(errors.UrlError, f"{quoted(value)} is not a URL", "a URL starts with its scheme: https://…")
    if scheme not in _SCHEMES:
        fail(
            errors.UrlError,
            f"'{scheme}' is not a scheme that can be fetched",
            did_you_mean(scheme.lower(), URL_SCHEMES, f"one of {', '.join(URL_SCHEMES)}"),
        )
    fail(errors.UrlError, f"{quoted(value)} is not a URL", "something has to follow '://', and no white space")


HASH_LENGTHS = {"sha256": 64, "sha512": 128, "blake3": 64}
_HEX = re.compile(r"[0-9a-f]*").fullmatch


def is_placeholder(hash_text: str) -> bool:
    """Whether a hash is a placeholder: of a known algorithm, its digest shortened with ``...``."""
    return hash_text.endswith("...")


def _hash(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (a hash)", value)
    if is_sri(value):
        try:
            return from_sri(value)
        except ValueError as error:
            fail(errors.HashSyntaxError, str(error), "copy the whole hash, or write sha256:… and 64 hexadecimal digits")
    algorithm, colon, digest = value.partition(":")
    length = HASH_LENGTHS.get(algorithm)
    if length is not None and (len(digest) == length or digest.endswith("...")) and _HEX(digest.removesuffix("...")):
        return value
    if not colon:
        guess = next((name for name, size in HASH_LENGTHS.items() if len(value) == size), None)
        hint = (
            f'write "{guess}:{value[:6]}…"' if guess and _HEX(value) else "such as sha256:… and 64 hexadecimal digits"
        )
        fail(errors.HashSyntaxError, "the hash does not say its algorithm", hint)
    if length is None:
        fail(errors.HashSyntaxError, f"'{algorithm}' is no known hash algorithm", f"one of {', '.join(HASH_LENGTHS)}")
    if not _HEX(digest.lower()):
        fail(errors.HashSyntaxError, "the digest is not hexadecimal", "digits 0-9 and letters a-f only")
    if digest != digest.lower():
        fail(errors.HashSyntaxError, "the digest has capital letters", "write it in lower case")
    fail(
        errors.HashSyntaxError,
        f"a {algorithm} digest has {length} hexadecimal digits, this one {len(digest)}",
        "delete the key, and 'nexis-eval lock' finds the hash",
    )


def _password_hash(value: object, _directory: str) -> object:
    if type(value) is not str:
        wrong_type("a string (a password hash)", value)
    if is_password_hash(value):
        return value if value in ("!", "*") else Secret(value)
    fail(
        errors.PasswordHashError,
        "this is not a password hash" + ("" if value.startswith("$") else "; passwords in clear text are not accepted"),
        "make one with 'openssl passwd -6'; \"!\" locks the password",
    )


def is_password_hash(value: str) -> bool:
    """Whether ``value`` has the form of ``crypt(5)``, or says that there is no password."""
    return bool(_CRYPT(value)) and not _NO_CRYPT(value[1:])


_CRYPT = re.compile(r"\$[0-9a-z]+\$[!-~]+|[!*]").fullmatch
_NO_CRYPT = re.compile(r"[:!*\\;]").search
_SSH_KEY = (
    r"(?:(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com"
    r"|sk-ecdsa-sha2-nistp256@openssh\.com) +[A-Za-z0-9+/=.]+"
    rf"(?: [^{UNPRINTABLE}]*)?)"
)


def _clean_absolute(value: str) -> bool:
    """A path in a system; ``$NAME`` in front stands for one."""
    below = value.partition("/")[2].removesuffix("/")
    return "//" not in value and value[-1] != " " and (not below or why_bad_path(below) is None)


def _clean_file(value: str) -> bool:
    return value[-1] != "/" and _clean_absolute(value)


def _clean_field(value: str) -> bool:
    return ":" not in value and _clean_absolute(value)


def _clean_in_service(value: str) -> bool:
    return "$" not in value and _clean_absolute(value)


def _clean_relative(value: str) -> bool:
    parts = [part for part in value.removesuffix("/").split("/") if part != "."]
    return not parts or why_bad_path("/".join(parts)) is None


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,127}"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}"

STRING = Kind("a string", _any_text, {"type": "string"})
LINE = text(hint="write it on one line")
BOOLEAN = Kind("a boolean", _boolean, {"type": "boolean"})
STRINGS = list_of(STRING, "a list of strings")
LINES = list_of(LINE, "a list of strings")
PORTS = list_of(integer(1, 65535), "a list of port numbers")
HOSTNAME = text(
    "a host name",
    pattern=rf"{_LABEL}(?:\.{_LABEL})*",
    accept=lambda value: len(value) <= 64,
    error=errors.HostnameError,
    hint="letters, digits and hyphens, at most 64, such as my-host",
)
ACCOUNT = text(
    "an account name",
    pattern=_ACCOUNT,
    error=errors.AccountNameError,
    hint="lower-case letters, digits, _ and -, at most 32",
)
ACCOUNTS = list_of(ACCOUNT, "a list of account names")
PASSWORD_HASH = Kind("a password hash", _password_hash, {"type": "string", "pattern": r"^(?:\$|[!*]$)"})
SSH_KEYS = list_of(
    text(
        "a public SSH key",
        pattern=_SSH_KEY,
        error=errors.SshKeyError,
        hint="one line of a .pub file: 'ssh-ed25519 AAAA… comment'",
    ),
    "a list of public SSH keys",
)
INTERFACE = text(
    "a network interface",
    pattern=_INTERFACE,
    error=errors.InterfaceError,
    hint="such as eth0; at most 15 letters, digits, _ . -",
)
ADDRESS = Kind("an IP address", _address, {"type": "string"})
ADDRESSES = list_of(ADDRESS, "a list of IP addresses")
INTERFACE_ADDRESS = Kind("an IP address with prefix length", _interface_address, {"type": "string", "pattern": "/"})
PACKAGE_NAME = text(
    "a package name",
    pattern=r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}",
    error=errors.PackageNameError,
    hint="letters, digits and + . _ -, starting with a letter or digit",
)
PACKAGE_NAMES = list_of(PACKAGE_NAME, "a list of package names")
VERSION = text(
    "a version",
    pattern=VERSION_PATTERN,
    error=errors.VersionError,
    hint="such as 1.2.3, or latest",
)
URL = Kind("a URL", _url, {"type": "string", "pattern": f"^({'|'.join(map(re.escape, URL_SCHEMES))})://."})
URLS = one_or_list_of(URL, "a URL or a list of URLs")
_HASH_FORMS = (
    r"(sha256|sha512|blake3):[0-9a-f]*(\.\.\.)?",
    r"(sha256|blake3)-[A-Za-z0-9+/]{43}=",
    r"sha512-[A-Za-z0-9+/]{86}==",
)
HASH = Kind("a hash", _hash, {"type": "string", "pattern": f"^({'|'.join(_HASH_FORMS)})$"})
LOCAL_PATH = Kind("the path of a file", _local_path, {"type": "string", "minLength": 1})
LOCAL_DIRECTORIES = list_of(
    Kind("the path of a directory", _local_path, {"type": "string", "minLength": 1}), "a list of paths of directories"
)
LOCAL_PATHS = list_of(LOCAL_PATH, "a list of paths of files")
_PATH = f"/[^{UNPRINTABLE}]*"
_PATH_HINT = "paths in the system start with '/' and have no '..' and no '//'"
ABSOLUTE_PATH = text(
    "an absolute path", pattern=_PATH, accept=_clean_absolute, error=errors.AbsolutePathError, hint=_PATH_HINT
)
FILE_PATH = text(
    "an absolute path",
    pattern=_PATH,
    accept=_clean_file,
    error=errors.AbsolutePathError,
    hint=f"{_PATH_HINT}; that of a file does not end in '/'",
)
FIELD_PATH = text(
    "an absolute path",
    pattern=_PATH,
    accept=_clean_field,
    error=errors.AbsolutePathError,
    hint=f"{_PATH_HINT}; in /etc/passwd ':' ends a field",
)
SERVICE_PATH = text(
    "an absolute path",
    pattern=_PATH,
    accept=_clean_in_service,
    error=errors.AbsolutePathError,
    hint=f"{_PATH_HINT}; to dinit, '$' begins the name of a variable",
)
GECOS = text("a text of one line without ':'", pattern=f"[^:{UNPRINTABLE}]+", hint="in /etc/passwd ':' ends a field")
COMMAND = text(
    "a command of one line without '$'",
    pattern=f" *[^ ${UNPRINTABLE}][^${UNPRINTABLE}]*",
    hint="no shell reads it: write a script, and run that",
)
KERNEL_MODULE = text(
    "the name of a kernel module", pattern=r"\*|[A-Za-z0-9_-]+", hint="such as nf_tables, or * for all"
)
KERNEL_MODULES = list_of(KERNEL_MODULE, "a list of kernel modules")
KERNEL_PARAMETER = text(
    "a kernel parameter",
    pattern=r"[!#-&(-\[\]-~]+",
    hint="one a string, such as quiet or panic=5; without blanks, quotes and backslashes",
)
KERNEL_PARAMETERS = list_of(KERNEL_PARAMETER, "a list of kernel parameters")
RUNTIME_DIRECTORIES = list_of(
    text(
        "an absolute path",
        pattern=rf"(?:/|\$[A-Z_]+(?=/|$))[^{UNPRINTABLE}]*",
        accept=_clean_absolute,
        error=errors.AbsolutePathError,
        hint="'/…', or with a variable in front: '$XDG_RUNTIME_DIR/…'",
    ),
    "a list of absolute paths",
)
SUBDIRECTORY = text(
    "a path inside the source",
    pattern=f"[^{UNPRINTABLE}]+",
    accept=_clean_relative,
    error=errors.RelativePathError,
    hint="relative, and without '..'",
)
ARCHITECTURES = list_of(
    Kind("an architecture", _architecture, {"enum": [*PLATFORMS, *ALIASES]}), "a list of architectures"
)
MODE = Kind("a file mode", _mode, {"type": "string", "pattern": "^[0-7]{3,4}$"})
RESTART = Kind(
    'a boolean, or one of "true", "false", "on-failure"',
    _restart,
    {"enum": [True, False, "true", "false", "yes", "no", "on-failure"]},
)
ENVIRONMENT = table_of(
    STRING,
    "a table of strings",
    key=text(
        "the name of an environment variable",
        pattern=_IDENTIFIER,
        error=errors.EnvironmentNameError,
        hint="letters, digits and _",
    ),
)
_ONE_LINE = "each variable is one line of a file"
SERVICE_ENVIRONMENT = table_of(
    text("a text of one line", pattern=r"[^\x00-\x08\x0a-\x1f\x7f]*", empty=True, hint=_ONE_LINE),
    "a table of strings of one line",
    key=text(
        "the name of an environment variable",
        pattern=_IDENTIFIER,
        error=errors.EnvironmentNameError,
        hint="letters, digits and _",
    ),
)
TEXTS = table_of(STRING, "a table of strings")
FREE = table_of(Kind("anything", _free, {}), "a table")
RULE_OPTIONS = table_of(Kind('anything, or { file = "path" }', _option, {}), "a table")
ATTRIBUTES = table_of(
    text(
        '"owner:group mode"',
        pattern=rf"{_ACCOUNT}:{_ACCOUNT}(?: [0-7]{{3,4}})?",
        error=errors.AttributesError,
        hint='such as "root:shadow 2755"',
    ),
    "a table of attributes",
    key=ABSOLUTE_PATH,
)
WINNERS = table_of(PACKAGE_NAME, "a table of package names", key=ABSOLUTE_PATH)
MIRRORS = table_of(
    URLS,
    "a table of URLs",
    key=text(
        "the name of a mirror set",
        pattern=r"[a-z0-9][a-z0-9-]*",
        error=errors.MirrorNameError,
        hint="lower-case letters, digits and hyphens",
    ),
)
