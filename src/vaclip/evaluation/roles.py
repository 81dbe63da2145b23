"""Which arm plays which part in an ablation: data of the preset, never names in code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vaclip import keys
from vaclip.evaluation.fusion import fusion_name

Pair = tuple[str, str]
MARGIN: Final = 0.05
"""A difference that is none, where a plan names no other."""
FAMILIES: Final = ("primary", "fusion", "bedside", "baseline", "named", "controls")
_OF_VERDICT: Final = ("primary", "fusion", "bedside")


@dataclass(frozen=True)
class Roles:
    """The parts that arms play, and what is called no difference between them.

    Attributes:
        baseline: What everything is measured against.
        method: What is put forward.
        shuffled: The method with another patient's maps; None for none.
        map_only: The arm that sees the map alone; None for none.
        withheld: The method, tested without maps; None for none.
        swapped: The method, tested with other patients' maps; None for none.
        bedside: The arm that is trained with maps and tested without; None for none.
        controls: Arms whose maps carry no clinical knowledge, or that see less.
        pairs: Further contrasts that were named beforehand, as (first, second).
        margin: A difference in balanced accuracy, or AUROC, that is no difference.
        taught: The arm that is pooled by a map which it predicts, as clinicians taught it to; with
            ``untaught`` it answers the question of the bedside in place of ``bedside``.
        untaught: The same, taught by nobody.
        taught_shuffled: The same, taught with another patient's maps.
        prior: The arm that is pooled by the mean map of the training patients.
        permuted: The method, trained on labels that were dealt anew between patients.
    """

    baseline: str
    method: str
    shuffled: str | None = None
    map_only: str | None = None
    bedside: str | None = None
    controls: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    margin: float = MARGIN
    withheld: str | None = None
    swapped: str | None = None
    taught: str | None = None
    untaught: str | None = None
    taught_shuffled: str | None = None
    prior: str | None = None
    permuted: str | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Roles:
        """Reads the ``roles`` of `keys.ARMS_FILE`."""
        return cls(
            baseline=content["baseline"],
            method=content["method"],
            shuffled=content.get("shuffled"),
            map_only=content.get("map_only"),
            bedside=content.get("bedside"),
            taught=content.get("taught"),
            untaught=content.get("untaught"),
            taught_shuffled=content.get("taught_shuffled"),
            prior=content.get("prior"),
            controls=tuple(content.get("controls", ())),
            pairs=tuple((first, second) for first, second in content.get("pairs", ())),
            margin=float(content.get("margin", MARGIN)),
            withheld=content.get("withheld"),
            swapped=content.get("swapped"),
            permuted=content.get("permuted"),
        )

    @property
    def all_controls(self) -> tuple[str, ...]:
        """`controls`, with those that have a role of their own."""
        named = (self.shuffled, self.map_only, self.fusion, *self.controls)
        named += (self.withheld, self.swapped)
        return tuple(dict.fromkeys(name for name in named if name))

    def is_control(self, arm: str) -> bool:
        """Whether an arm is there to be beaten, not to be used."""
        return arm in self.all_controls or arm == self.permuted

    @property
    def trained_controls(self) -> tuple[str, ...]:
        """Those of `controls` that are the method trained with other maps, but for `shuffled`."""
        others = (self.shuffled, self.map_only, self.withheld, self.swapped)
        return tuple(name for name in self.controls if name not in others)

    @property
    def fusion(self) -> str | None:
        """The late fusion of the baseline and the map alone, which `evaluate` adds."""
        return fusion_name(self.baseline, self.map_only) if self.map_only else None

    def primary(self, arms: Iterable[str]) -> list[Pair]:
        """The contrasts that the verdict rests on, of the arms that are there."""
        present = set(arms)
        pairs = [
            (self.taught, self.untaught),
            (self.bedside, self.baseline),
            (self.method, self.baseline),
            (self.method, self.shuffled),
        ]
        named = [(one, two) for one, two in pairs if one in present and two in present]
        if (self.taught, self.untaught) in named:
            named = [pair for pair in named if pair != (self.bedside, self.baseline)]
        return [(one, two) for one, two in named if one and two]

    def families(self, arms: Iterable[str]) -> dict[str, list[Pair]]:
        """The contrasts of each of `FAMILIES`, of the arms that are there; variants stand in none.

        ``primary``, ``fusion`` (the method against the late fusion) and ``bedside`` (the taught arm
        against controls of its own) are the verdict's, and stand in no other family.
        ``baseline``: every other arm against the baseline. ``named``: `pairs`. ``controls``: the
        method against each control.
        """
        present = [arm for arm in arms if keys.split_variant(arm)[1] is None]
        wanted: dict[str, list[Pair]] = {
            "primary": self.primary(present),
            "fusion": [(self.method, self.fusion)] if self.fusion else [],
            "bedside": [
                (self.taught, control)
                for control in (self.taught_shuffled, self.prior)
                if self.taught and control
            ],
            "baseline": [(arm, self.baseline) for arm in present if arm != self.baseline],
            "named": list(self.pairs),
            "controls": [(self.method, control) for control in self.all_controls],
        }
        decisive = {pair for name in _OF_VERDICT for pair in wanted[name]}
        return {
            name: [
                pair
                for pair in pairs
                if set(pair) <= set(present) and (name in _OF_VERDICT or pair not in decisive)
            ]
            for name, pairs in wanted.items()
        }
