"""``[config_files.NAME]``: files rendered from the user's templates."""

from __future__ import annotations

from nexis_eval.config.model import ConfigFile
from nexis_eval.derivation import Derivation, Entry, Files
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError, Place


class TemplateFileError(NexisError):
    """A template of the user's cannot be rendered."""

    code = "E0407"
    exit_code = 2


def _render(system: System, file: ConfigFile) -> str:
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    settings = system.config.system
    known = {
        "system": {"hostname": settings.hostname, "timezone": settings.timezone, "version": settings.version},
        "arch": system.platform.arch,
        **file.variables,
    }
    path = str(file.source.path)
    try:
        return environment.from_string(file.source.path.read_text(encoding="utf-8")).render(known)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFileError(
            f"not a template: {error.message}", hint="templates are Jinja2", place=Place(path, error.lineno, 1)
        ) from None
    except jinja2.UndefinedError as error:
        place = system.config.place(("config_files", file.name, "source"))
        raise TemplateFileError(
            f"the template '{file.source.written}' of '{file.name}': {error.message}",
            hint=f"set it: [config_files.{file.name}] variables = {{ … }}",
            place=place,
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise TemplateFileError(
            f"cannot read the template: {error}", hint="templates are UTF-8 text", place=Place(path)
        ) from None


def config_files(system: System) -> list[DerivationId]:
    """One part a file, so that changing one changes nothing else."""
    parts = []
    for name, file in system.config.config_files.items():
        entry = Entry(file.path.lstrip("/"), _render(system, file), mode=file.mode, owner=file.owner, group=file.group)
        place = system.config.place(("config_files", name))
        derivation = Derivation(f"config-file-{name}", Files((entry,)), platform=system.platform.arch)
        parts.append(system.builder.add(derivation, place))
    return parts
