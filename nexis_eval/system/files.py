"""``[config_files.NAME]``: files rendered from the user's templates; and the ``runtime_dirs`` of packages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from nexis_eval.config.model import ConfigFile
from nexis_eval.config.origin import shown_path
from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import shell
from nexis_eval.system.context import System
from nexis_eval.system.services import all_services
from nexis_eval.system.ssh import ssh_directories
from nexis_eval.system.users import accounts
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError, Place

if TYPE_CHECKING:
    from nexis_eval.jinja import Environment

_SYNTAX = "see https://jinja.palletsprojects.com/templates/; text to keep stands between {% raw %} and {% endraw %}"
USER_DIRECTORY = "$XDG_RUNTIME_DIR"


class TemplateFileError(NexisError):
    """A template of the user's cannot be rendered.

    Templates of ``[config_files]`` are Jinja2 (https://jinja.palletsprojects.com/templates/), in UTF-8. They can use
    ``variables`` of their table, ``system`` and ``network``, ``arch``; a name that nobody set is an error. They compute
    with these values and nothing else: they read no files, call no program and see no attribute that begins with ``_``;
    and what they may take of time and memory is limited.
    """

    code = "E0407"
    exit_code = 2


@cache
def _environment() -> Environment:
    from nexis_eval.jinja import Environment

    return Environment()


def render_file(system: System, file: ConfigFile) -> str:
    """The text of a configured file; raises ``TemplateFileError`` with the place in the template."""
    path = shown_path(file.source.path)
    try:
        text = file.source.path.read_bytes().decode()
    except OSError as error:
        raise TemplateFileError(
            f"the template of '{file.name}' cannot be read: {error.strerror}",
            hint="paths are relative to the file that names them",
            place=system.config.place(("config_files", file.name, "source")),
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TemplateFileError(
            f"the template of '{file.name}' is not UTF-8", hint="save it as UTF-8", place=Place(path, line, 1)
        ) from None
    if "{" not in text:
        return text
    from nexis_eval.jinja import TemplateFailure, compiled, rendered

    values = {
        "system": system.config.system,
        "network": system.config.network,
        "arch": system.platform.arch,
        **file.variables,
    }
    try:
        return rendered(compiled(_environment(), text), values, text)
    except TemplateFailure as error:
        if error.syntax:
            message, hint = f"not a Jinja2 template: {error.message}", _SYNTAX
        else:
            message = f"the template of '{file.name}' fails: {error.message}"
            hint = "correct the expression, or the variables it uses"
            if "undefined" in error.message:
                hint = f"set it: [config_files.{file.name}] variables = {{ … }}, or write {{{{ name | default('…') }}}}"
        raise TemplateFileError(message, hint=hint, place=Place(path, error.line, error.column)) from None


def part_name(file: ConfigFile) -> str:
    """The name of the derivation of a configured file."""
    return f"config-file-{file.name}"


def config_file(system: System, name: str) -> DerivationId:
    """A configured file as a part: one a file, so that changing one changes nothing else."""
    file = system.config.config_files[name]
    text = render_file(system, file)
    entry = Entry(file.path.lstrip("/"), text, mode=file.mode, owner=file.owner, group=file.group)
    return system.files(part_name(file), (entry,), ("config_files", name))


def _directories(system: System) -> Iterator[Entry]:
    wanted = {path for package in system.config.packages.values() if package.install for path in package.runtime_dirs}
    everyone, _ = accounts(system.config)
    people = [account for account in everyone if not account.user.system]
    lines = ["0755 root root /run/user\n"]
    lines += [
        f"0700 {account.user.name} {account.group} /run/user/{account.uid}\n"
        for account in sorted(people, key=lambda account: account.uid)
    ]
    lines += [f"0755 root root {path}\n" for path in sorted(wanted) if not path.startswith("$")]
    lines += ssh_directories(system)
    # dinit makes no directories for logs. What there is stays as it is.
    logs = {service.log_file.rpartition("/")[0] for service in all_services(system).values() if service.log_file}
    lines += [f"- root root {path}\n" for path in sorted(logs - {""})]
    # rcS makes these at every start: some lie in memory, and others may have been deleted.
    yield Entry("usr/lib/nexis/directories", text="".join(lines))
    at_login = ["# Directories of the session; /run/user/NUMBER is there since the system started.\n"]
    at_login.append('[ -d "/run/user/$(id -u)" ] && export XDG_RUNTIME_DIR="/run/user/$(id -u)"\n')
    for path in sorted(wanted):
        if path.startswith(USER_DIRECTORY):
            below = shell(path.removeprefix(USER_DIRECTORY).lstrip("/"))
            at_login.append(f'[ -n "$XDG_RUNTIME_DIR" ] && mkdir -p "$XDG_RUNTIME_DIR"/{below}\n')
        elif not path.startswith("$"):
            yield Entry(path.strip("/"))
    yield Entry("etc/profile.d/runtime-dirs.sh", text="".join(at_login))


def runtime_directories(system: System) -> DerivationId:
    """The directories that have to exist while the system runs, as a part."""
    return system.files("system-runtime-dirs", _directories(system))
