"""Puts the rules beside the engine in what is installed; everything else is said in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRules(build_py):
    """In a checkout ``rules/`` lies beside the packages, where people find it; a wheel has one directory of its own."""

    def run(self) -> None:
        """Build, then copy the rules into the package."""
        super().run()
        if not self.editable_mode:
            shutil.copytree(Path("rules"), Path(self.build_lib, "nexis_eval/rules"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithRules})
