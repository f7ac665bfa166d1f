"""``[config_files.NAME]``: files rendered from the user's templates; and the ``runtime_dirs`` of packages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from nexis_eval.config.model import ConfigFile
from nexis_eval.config.origin import shown_path
from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import shell
from nexis_eval.system.contribution import Contribution, Directory, Layer
from nexis_eval.system.services import all_services
from nexis_eval.system.users import accounts
from nexis_eval.system.view import SystemView
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


def render_file(view: SystemView, file: ConfigFile) -> str:
    """The text of a configured file; raises ``TemplateFileError`` with the place in the template."""
    path = shown_path(file.source.path)
    try:
        text = view.read(file.source).decode()
    except OSError as error:
        raise TemplateFileError(
            f"the template of '{file.name}' cannot be read: {error.strerror}",
            hint="paths are relative to the file that names them",
            place=view.config.place(("config_files", file.name, "source")),
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
        "system": view.config.system,
        "network": view.config.network,
        "arch": view.platform.arch,
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


def config_files(view: SystemView) -> Contribution:
    """Each configured file as a derivation of its own, so that changing one changes nothing else."""
    layers: list[Layer] = []
    wrong: list[NexisError] = []
    for name, file in view.config.config_files.items():
        try:
            text = render_file(view, file)
        except NexisError as error:
            wrong.append(error)
            continue
        entry = Entry(file.path.lstrip("/"), text, mode=file.mode, owner=file.owner, group=file.group)
        layers.append(Layer(part_name(file), (entry,), ("config_files", name)))
    return Contribution(layers=tuple(layers), errors=tuple(wrong))


def runtime_directories(view: SystemView) -> Contribution:
    """The directories that packages need while the system runs."""
    paths = sorted({path for package in view.packages.values() for path in package.runtime_dirs})
    at_login = ["# Directories of the session; /run/user/NUMBER is there since the system started.\n"]
    at_login.append('[ -d "/run/user/$(id -u)" ] && export XDG_RUNTIME_DIR="/run/user/$(id -u)"\n')
    for path in paths:
        if path.startswith(USER_DIRECTORY):
            below = shell(path.removeprefix(USER_DIRECTORY).lstrip("/"))
            at_login.append(f'[ -n "$XDG_RUNTIME_DIR" ] && mkdir -p "$XDG_RUNTIME_DIR"/{below}\n')
    found = [path for path in paths if not path.startswith("$")]
    return Contribution(
        files=(
            *(Entry(path.strip("/")) for path in found),
            Entry("etc/profile.d/runtime-dirs.sh", text="".join(at_login)),
        ),
        directories=tuple(map(Directory, found)),
    )


def directory_table(view: SystemView, everything: Contribution) -> Iterator[Entry]:
    """The directories of all parts. rcS makes them at every start: some lie in memory, others may have been deleted."""
    everyone, _ = accounts(view.config, everything)
    people = sorted((each for each in everyone if not each.user.system), key=lambda each: each.uid)
    # dinit makes no directories for logs.
    services = all_services(view, everything).values()
    logs = {service.log_file.rpartition("/")[0] for service in services if service.log_file}
    found = (
        Directory("/run/user"),
        *(Directory(f"/run/user/{each.uid}", "0700", each.user.name, each.group) for each in people),
        *everything.directories,
        *(Directory(path, "-") for path in sorted(logs - {""})),
    )
    lines = (f"{each.mode} {each.owner} {each.group} {each.path}\n" for each in found)
    yield Entry("usr/lib/nexis/directories", text="".join(lines))
