"""Every way in which a configuration can be wrong, one class each. The docstrings are what ``explain-error`` prints.

Codes: C01xx reading and including files, C02xx keys, C03xx single values, C04xx merging, C05xx rules between keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nexis_store.errors import NexisError, Place


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that an error is about, and why."""

    place: Place
    text: str
    length: int = 0


class ConfigError(NexisError):
    """One mistake in a configuration.

    Never raised alone: ``ConfigErrors`` carries all mistakes of a run.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        place: Place | None = None,
        length: int = 0,
        notes: Sequence[Note] = (),
        included_from: Sequence[Place] = (),
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.length = length
        """How many characters the caret underlines; 0 is unknown."""
        self.notes = tuple(notes)
        self.included_from = tuple(included_from)
        """The include statements that led to the file, innermost first."""


def is_not_meant(error: NexisError) -> bool:
    """Whether all that is wrong is that the system is not meant for the architecture."""
    return isinstance(error, ConfigErrors) and {type(each) for each in error.errors} == {ArchitectureError}


class ConfigErrors(NexisError):  # noqa: N818 - it is several
    """The configuration has mistakes; all that were found are listed.

    Each is printed with its own place, source line and hint. Correct them and run the command again;
    ``nexis-eval check`` reads the configuration without building anything.
    """

    code = "C0001"
    exit_code = 2

    def __init__(self, errors: Sequence[NexisError]) -> None:
        number = len(errors)
        first = errors[0]
        super().__init__(
            first.message if number == 1 else f"{number} errors in the configuration", hint=None, place=first.place
        )
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def each_error(error: NexisError) -> tuple[NexisError, ...]:
    """The single errors that ``error`` stands for."""
    return error.errors if isinstance(error, ConfigErrors) else (error,)


def raise_together(errors: Iterable[NexisError]) -> None:
    """Raise what was found, each once, in the order of the files: one error as it is, several as ``ConfigErrors``."""
    found: dict[tuple[object, ...], NexisError] = {}
    for error in errors:
        for each in each_error(error):
            place = each.place or Place("")
            found.setdefault((place.file, place.line, place.column, each.code, each.message), each)
    several = [each for _, each in sorted(found.items(), key=lambda item: item[0])]
    if len(several) == 1 and not isinstance(several[0], ConfigError):
        raise several[0]
    if several:
        raise ConfigErrors(several)


class TomlSyntaxError(ConfigError):
    """The file is not valid TOML.

    The place is where reading could not go on; the mistake is there or just before it. Common causes: a string
    without quotes, a quote that is not closed, a comma missing between the values of a list, a key that is set twice, a
    table that is opened twice. The syntax is at https://toml.io/en/v1.1.0.
    """

    code = "C0101"


class EncodingError(ConfigError):
    """The file is not UTF-8, as TOML requires.

    Save it as UTF-8 in your editor, or convert it with ``iconv -f LATIN1 -t UTF-8``.
    """

    code = "C0102"


class MissingFileError(ConfigError):
    """The configuration file that was given on the command line cannot be read.

    Commands read ``./system.toml`` unless another file, or the directory of one, is named.
    """

    code = "C0103"


class MissingIncludeError(ConfigError):
    """A file, directory or pattern in ``[includes] paths`` leads to nothing that can be read.

    Paths are relative to the file that holds the ``[includes]`` table. A directory stands for its ``*.toml`` files in
    the order of their names; ``*``, ``?``, ``[…]`` and ``**`` make a pattern.
    """

    code = "C0104"


class IncludeCycleError(ConfigError):
    """A file includes itself, directly or through others.

    The chain of includes is listed. Take one link out; what both files need belongs into a third.
    """

    code = "C0105"


class DuplicateIncludeError(ConfigError):
    """A file is included twice.

    Each file counts once, so one of the two include statements can go. Both are named.
    """

    code = "C0106"


class UnknownKeyError(ConfigError):
    """There is no such setting.

    ``nexis-eval options`` lists all settings with their types, defaults and meaning; ``nexis-eval options WORD``
    searches them. Unknown keys are errors because a misspelt setting that is ignored is worse.
    """

    code = "C0201"


class WrongTypeError(ConfigError):
    """The value has another type than the setting takes, such as a number where a string belongs."""

    code = "C0202"


class MissingKeyError(ConfigError):
    """A table lacks a key without which it means nothing, such as a package without ``name``."""

    code = "C0203"


class NameMismatchError(ConfigError):
    """A table is called one thing and says another in its ``name``.

    ``[dinit_services.sshd]`` is the service ``sshd``: leave ``name`` out, or make it the same.
    """

    code = "C0204"


class UnknownArchitectureError(ConfigError):
    """``[arch.NAME]`` or ``[system] architectures`` names an architecture that the engine does not know."""

    code = "C0205"


class UnknownProfileError(ConfigError):
    """A profile was asked for on the command line that no ``[profile.NAME]`` table defines."""

    code = "C0206"


class OverrideSyntaxError(ConfigError):
    """An override (``--set KEY=VALUE``) cannot be read.

    The value is TOML, so strings need quotes of their own: ``--set 'system.hostname="lab"'``.
    """

    code = "C0207"


class ChoiceError(ConfigError):
    """The setting takes one of a few words, and this is none of them."""

    code = "C0301"


class RangeError(ConfigError):
    """The number is outside of what the setting can be."""

    code = "C0302"


class HostnameError(ConfigError):
    """A host name has letters, digits and hyphens, at most 63 in a label and 64 in all (``hostname(7)``)."""

    code = "C0303"


class TimezoneError(ConfigError):
    """There is no time zone of that name in the IANA database (https://www.iana.org/time-zones).

    Names look like ``Europe/Berlin`` or ``UTC``.
    """

    code = "C0304"


class LocaleError(ConfigError):
    """A locale looks like ``en_US.UTF-8``: language, country, character set; or ``C.UTF-8``.

    Languages and countries are those that glibc has (``/usr/share/i18n/SUPPORTED``). The character set is not left out:
    what stands for it then is not UTF-8.
    """

    code = "C0305"


class AccountNameError(ConfigError):
    """The name of a user or group starts with a lower-case letter or ``_`` and goes on with those, digits, ``-``.

    At most 32 characters (``useradd(8)``).
    """

    code = "C0306"


class PasswordHashError(ConfigError):
    """``password_hash`` is no password hash in the form of ``crypt(5)``.

    A configuration never holds a password in clear text. Make a hash with ``openssl passwd -6`` or
    ``argon2 SALT -id -e``; ``"!"`` locks the password.
    """

    code = "C0307"


class SshKeyError(ConfigError):
    """An entry of ``authorized_keys`` is one line as in a ``.pub`` file: type, key, comment."""

    code = "C0308"


class AddressError(ConfigError):
    """Not an IPv4 or IPv6 address in the form that the setting takes (``192.168.1.10``, ``192.168.1.10/24``)."""

    code = "C0309"


class InterfaceError(ConfigError):
    """The name of a network interface has at most 15 characters, without ``/`` and white space."""

    code = "C0310"


class PackageNameError(ConfigError):
    """The name of a package starts with a letter or digit and goes on with those and ``+ . _ -``."""

    code = "C0311"


class VersionError(ConfigError):
    """A version has letters, digits and ``. + ~ : _ -``, or is ``latest``."""

    code = "C0312"


class UrlError(ConfigError):
    """Not a URL, or of a scheme that cannot be fetched.

    Sources come by ``https``, ``http``, ``mirror://SET/path`` (``[mirrors]``), or from git: ``git+https``,
    ``git+http``, ``git+ssh``, ``git``, or any URL that ends in ``.git``.
    """

    code = "C0313"


class UrlSecretError(ConfigError):
    """A URL has a user's name and password in it.

    Recipes have URLs, and a store is read by everybody. Passwords and tokens belong into ``~/.netrc``:
    ``machine HOST login USER password TOKEN``.
    """

    code = "C0323"


class HashSyntaxError(ConfigError):
    """A hash is ``ALGORITHM:HEX``: ``sha256:`` and 64, ``sha512:`` and 128, or ``blake3:`` and 64 hexadecimal digits.

    The form of web pages, ``sha256-`` and base64 (SRI), is accepted as well.

    ``nexis-eval lock`` finds hashes by itself where the key is left out. A digest that is shortened with ``...`` is a
    placeholder: the configuration evaluates, and a build that needs the hash stops with C0513.
    """

    code = "C0314"


class AbsolutePathError(ConfigError):
    """The setting is a path in the finished system and starts with ``/``, without ``.`` or ``..`` in it."""

    code = "C0315"


class RelativePathError(ConfigError):
    """The setting is a path inside a source tree: relative, and without ``..`` in it."""

    code = "C0316"


class ModeError(ConfigError):
    """A file mode is a string of three or four octal digits, such as ``"0644"``."""

    code = "C0317"


class EnvironmentNameError(ConfigError):
    """The name of an environment variable has letters, digits and ``_``, and does not start with a digit."""

    code = "C0318"


class AttributesError(ConfigError):
    """The attributes of a path are ``"OWNER:GROUP MODE"``, such as ``"root:shadow 2755"``."""

    code = "C0319"


class TextError(ConfigError):
    """The text is empty or holds characters that cannot stand here, such as a line break or a NUL."""

    code = "C0320"


class MirrorNameError(ConfigError):
    """The name of a mirror set has lower-case letters, digits and hyphens."""

    code = "C0321"


class KeyboardError(ConfigError):
    """A keyboard layout is one of XKB's: ``us``, ``de``; with a variant, ``fr(latin9)``.

    They are named by country or language in two or three letters; ``/usr/share/X11/xkb/rules/base.lst`` of any machine
    with X11 lists them.
    """

    code = "C0322"


class ConflictingValuesError(ConfigError):
    """Two files set one thing to two different values, and neither says that it is the stronger.

    Both places are named. Delete one of the two; or mark the weaker by moving it below ``[default.…]``; or the stronger
    by moving it below ``[force.…]``. What stands in ``[arch.NAME.…]`` or ``[profile.NAME.…]`` wins over what stands
    outside.
    """

    code = "C0401"


class DuplicateEntryError(ConfigError):
    """A package (or a log rotation) is declared twice, with the same strength.

    To change some keys of a package that another file declares, write ``[[force.packages]]`` with its name and those
    keys.
    """

    code = "C0402"


class RemoveError(ConfigError):
    """``[remove]`` names something that is not there."""

    code = "C0403"


class NothingToForceError(ConfigError):
    """``[[force.packages]]`` (or an override on the command line) changes a package that nothing declares.

    A new package is declared by ``[[packages]]``.
    """

    code = "C0404"


class UnknownDependencyError(ConfigError):
    """A package depends on one that no file declares."""

    code = "C0501"


class DependencyCycleError(ConfigError):
    """Packages depend on each other in a circle, so that none could be built first."""

    code = "C0502"


class UnknownServiceError(ConfigError):
    """A service depends on one that no ``[dinit_services.NAME]`` defines."""

    code = "C0503"


class ServiceCycleError(ConfigError):
    """Services depend on each other in a circle, so that none could be started first."""

    code = "C0504"


class MissingLocalFileError(ConfigError):
    """A file that the configuration names (a patch, a hook, a template, a kernel configuration …) is not there.

    Paths are relative to the file that holds the setting.
    """

    code = "C0505"


class KernelError(ConfigError):
    """``[system] kernel`` leads nowhere.

    It names a declared package (``linux``, or with its version, ``linux-6.9.2``), unless ``kernel_source`` says where
    the kernel's sources are.
    """

    code = "C0506"


class NetworkError(ConfigError):
    """The settings of ``[network]`` contradict each other.

    With ``dhcp = true`` the address comes from the network; with ``dhcp = false`` there has to be a ``static_ip`` with
    its prefix length, and a ``gateway`` inside of it.
    """

    code = "C0507"


class ServiceError(ConfigError):
    """A service lacks what its type needs: a ``command``, or for ``bgprocess`` a ``pid_file``."""

    code = "C0508"


class SamePathError(ConfigError):
    """Two ``[config_files.NAME]`` write the same path."""

    code = "C0509"


class AccountError(ConfigError):
    """Users contradict each other or the system: a number twice, ``root`` with another than 0, ``/etc`` as a home."""

    code = "C0510"


class UnknownAccountError(ConfigError):
    """A file, a service or a user names an account that nothing declares.

    Users are declared by ``[users.NAME]`` (with ``system = true`` for those of services), groups by ``[groups.NAME]``;
    each user has a group of the same name. Those of every system (``root``, ``nobody``, ``audio`` …) and of well-known
    services (``www-data``, ``clamav``, ``sshd`` …) need no declaration: the latter are made when something names them.
    """

    code = "C0526"


class PackageKeysError(ConfigError):
    """The keys of a package contradict each other, such as ``prebuilt_hash`` without ``prebuilt``."""

    code = "C0511"


class WinnerError(ConfigError):
    """``[conflicts]`` lets a package win a path, and no such package is declared."""

    code = "C0512"


class PlaceholderHashError(ConfigError):
    """A build needs a hash that is only a placeholder (a digest shortened with ``...``).

    Write the whole digest, or delete the key and let ``nexis-eval lock`` find it.
    """

    code = "C0513"


class UndefinedMirrorError(ConfigError):
    """``mirror://SET/…`` names a set that neither ``[mirrors]`` nor the machine's apt configuration defines."""

    code = "C0514"


class ContextFileError(ConfigError):
    """A ``context_file`` is no module of SELinux's Common Intermediate Language.

    Parentheses, the words that statements begin with and the form of file contexts are looked at. Whether the types and
    classes exist is only known to the policy that the module is linked with.
    """

    code = "C0516"


class ArchitectureError(ConfigError):
    """The system is not meant for the architecture that is asked for.

    ``architectures`` in ``[system]`` lists those that it is meant for. Choose one of them with ``--arch``, or add the
    other to the list.
    """

    code = "C0517"


class HashConflictError(ConfigError):
    """The hash of a file in the configuration is not the one that the lock has for the same file.

    Both were written down for one URL, so one of them is of another file. The one of the configuration is meant to win:
    if it is right, ``nexis-eval lock --update PACKAGE`` pins what is there now; if not, correct or delete it. A file
    that upstream replaced without giving it another name deserves a look before it is built.
    """

    code = "C0518"


class TemplateFieldError(ConfigError):
    """A URL has a field in braces that stands for nothing.

    ``{name}``, ``{version}``, ``{version_major}``, ``{version_minor}``, ``{tag}``, ``{arch}``, ``{debarch}``,
    ``{goarch}`` and ``{triplet}`` are filled in.
    """

    code = "C0515"


class ReservedNameError(ConfigError):
    """A package bears a name that commands need for something else.

    ``iso``, ``kernel``, ``rootfs`` and the other parts of a system are targets of their own (``nexis-eval targets``
    lists them), so that a package of that name could not be named.
    """

    code = "C0525"


class PasswordFileError(ConfigError):
    """The file that ``password_hash_file`` names does not hold a password hash, or others may read it.

    It has one line, a hash in the form of ``crypt(5)`` as ``openssl passwd -6`` prints it, and nobody but its owner may
    read or write it: ``chmod 600 FILE``.
    """

    code = "C0527"


class SecretFileError(ConfigError):
    """A file of ``[config_files]`` is one that only holds secrets: ``/etc/shadow``, ``/etc/gshadow``.

    Configured files are in the store, which everybody reads. Passwords come from ``[users.NAME]``, and get into the
    copies of images alone (``docs/images.md``).
    """

    code = "C0528"
