"""What older kernels cannot do is done in another way, with the same result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.eval.sandbox.rooms import require_sandbox

# Mounting by descriptor needs Linux 6.13; here it is made to fail as it does before.
PROGRAM = """
import os, sys
from nexis_eval.sandbox import linux, root, spawner

def refuse(layers, attributes):
    raise OSError(22, "Invalid argument")

step, number, _ = spawner.prepare()
assert not step, (step, number)
pid, _ = linux.clone(spawner.NAMESPACES)
if pid == 0:
    linux.overlay = refuse
    linux.attach(root.overlay_tree(sys.argv[2:]), sys.argv[1])
    print(*sorted(os.listdir(sys.argv[1])))
    print(open(sys.argv[1] + "/both").read())
    try:
        open(sys.argv[1] + "/new", "w")
    except OSError as error:
        print(error.errno)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("count", [200, 1100], ids=["one overlay", "more than one can have"])
def test_an_overlay_of_many_layers_with_long_paths_by_mount(tmp_path: Path, count: int) -> None:
    require_sandbox()
    target = tmp_path / "target"
    target.mkdir()
    layers = []
    for index in range(count):
        layer = tmp_path / ("long" * 40) / str(index)
        layer.mkdir(parents=True)
        (layer / f"file-{index:04}").write_text("")
        (layer / "both").write_text(str(index))
        layers.append(layer)
    command = [sys.executable, "-c", PROGRAM, str(target), *map(str, layers)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)
    names, both, error = result.stdout.splitlines()
    assert names.split() == ["both", *(f"file-{index:04}" for index in range(count))]
    assert (both, error) == ("0", "30")
    assert list(target.iterdir()) == []
