"""What a build sees of an input that is used as a closure: the layers in order, and one digest for all of them. Pure.

Recipes name their neighbours only; here the layers behind those are found, when a build is about to run, and digested,
for build keys. A digest is made from the digests of the neighbours' closures, so that all keys of a graph together cost
no more than its edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nexis_eval.graph.derivation import ClosureDigest, Derivation, Input, Use, closure_digest
from nexis_store.digest import DerivationId, Digest, TreeDigest

BUILD_OUTPUTS = ("out", "dev")
Derivations = Mapping[DerivationId, Derivation]
Outputs = Mapping[str, TreeDigest]


def propagated(derivations: Derivations, roots: Iterable[DerivationId]) -> Iterator[DerivationId]:
    """Everything that ``roots`` propagate, directly or not, each once and topmost layer first; without the roots."""
    roots = [*roots]
    seen = set(roots)
    pending = [iter(derivations[each].propagates) for each in reversed(roots)]
    while pending:
        for each in pending[-1]:
            if each not in seen:
                seen.add(each)
                yield each
                pending.append(iter(derivations[each].propagates))
                break
        else:
            pending.pop()


def visible(derivations: Derivations, derivation: Derivation) -> list[DerivationId]:
    """Every derivation whose output the builder of ``derivation`` sees, each once."""
    closures = dict.fromkeys(each.derivation for each in derivation.inputs if each.use is Use.CLOSURE)
    found = dict.fromkeys(each.derivation for each in derivation.inputs)
    return [*found, *(each for each in propagated(derivations, closures) if each not in found)]


def for_building(outputs: Outputs) -> list[TreeDigest]:
    """Those outputs that whoever builds against something sees: not its documentation nor its debugging information."""
    return [digest for name, digest in outputs.items() if name in BUILD_OUTPUTS]


class Closures:
    """Resolves inputs to what they came out as. ``outputs`` may grow meanwhile; what is in it may not change.

    ``digest`` and ``trees`` raise ``KeyError`` as long as something of the closure has no outputs.
    """

    def __init__(self, derivations: Derivations, outputs: Mapping[DerivationId, Outputs]) -> None:
        self._derivations = derivations
        self._outputs = outputs
        self._digests: dict[DerivationId, ClosureDigest] = {}

    def digest(self, each: Input) -> Digest:
        """What stands for an input in the build key of its user: its tree, or all layers of its closure."""
        outputs = self._outputs[each.derivation]
        if each.use is not Use.CLOSURE:
            return outputs[each.output]
        needed = self._derivations[each.derivation].propagates
        return closure_digest(for_building(outputs), [self._closure(item) for item in needed])

    def trees(self, each: Input) -> tuple[TreeDigest, ...]:
        """The trees that an input brings, topmost first: one, unless it is used as a closure."""
        outputs = self._outputs[each.derivation]
        if each.use is not Use.CLOSURE:
            return (outputs[each.output],)
        others = propagated(self._derivations, [each.derivation])
        return (*for_building(outputs), *(digest for item in others for digest in for_building(self._outputs[item])))

    def _closure(self, root: DerivationId) -> ClosureDigest:
        pending = [root]
        while pending:
            each = pending[-1]
            needed = self._derivations[each].propagates
            missing = [item for item in needed if item not in self._digests]
            if missing and each not in self._digests:
                pending.extend(missing)
                continue
            pending.pop()
            if each not in self._digests:
                trees = for_building(self._outputs[each])
                self._digests[each] = closure_digest(trees, [self._digests[item] for item in needed])
        return self._digests[root]
