"""A recipe as lines for people."""

from __future__ import annotations

from nexis_eval.graph.dag import DerivationGraph
from nexis_store.digest import DerivationId


def recipe_lines(graph: DerivationGraph, each: DerivationId) -> list[str]:
    """Everything that a derivation says: where it comes from, its builder, script, environment, inputs."""
    derivation = graph.derivations[each]
    lines = [f"{derivation.label}  {each}"]
    place = graph.origins.get(each)
    if place is not None:
        lines.append(f"  from        {place}")
    platform = derivation.platform
    if derivation.build_platform != platform:
        platform += f" (built on {derivation.build_platform})"
    lines.append(f"  platform    {platform}")
    lines.append(f"  builder     {derivation.builder.kind}")
    for label, value in derivation.builder.fields():
        if "\n" in value:
            lines.append(f"  {label}")
            lines.extend(f"    | {line}" for line in value.splitlines())
        else:
            lines.append(f"  {label:<11} {value}")
    for needed in derivation.inputs:
        below = f"/{needed.subdir}" if needed.subdir else ""
        source = graph.derivations[needed.derivation]
        lines.append(
            f"  input       {source.label}{below} as {needed.use} at {needed.at}  {str(needed.derivation)[:12]}"
        )
    for runtime in derivation.runtime:
        lines.append(f"  needs       {graph.derivations[runtime].label} when used")
    return lines
