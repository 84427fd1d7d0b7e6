"""The verdicts on the assumptions of the convergence theorems, as text and as plain data."""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

HOLDS = "holds"
ON_BALL = "holds on the ball"
CUTOFF = "holds only with the cut-off"
FAILS = "fails"
UNKNOWN = "unknown"

_STATEMENTS = {
    "A1": "for each x, T(., x) is twice continuously differentiable on countably many open pieces "
    "that leave out a null set",
    "A2": "T is Lipschitz in (u, x)",
    "A3": "both laws have compact support",
    "A4": "|T(u, x)| <= g(x) (1 + |u|) with g integrable",
    "A5": "on every piece the second derivatives in u of T_i and T_i T_j are bounded by one M",
    "A6": "both laws are discrete, with finitely many atoms",
    "A7": "each T(., x) is path differentiable",
}


@dataclass(frozen=True)
class Assumption:
    """The verdict on one assumption.

    Attributes:
        name: "A1" to "A7", as numbered in Tanguy (TMLR 2023).
        verdict: "holds", "holds on the ball", "holds only with the cut-off", "fails" or "unknown".
        basis: what the verdict rests on: a proof by inspection of the program, numerical
            examination of activations, comparisons of mapped points, samples, or what the measures
            declare.
        reason: why.
    """

    name: str
    verdict: str
    basis: str
    reason: str

    @property
    def statement(self) -> str:
        """The assumption in words."""
        return _STATEMENTS[self.name]


@dataclass(frozen=True)
class Theorem:
    """Whether a theorem covers the training.

    Attributes:
        name: "Theorem 1" (interpolated paths of SGD) or "Theorem 2" (noised, projected SGD).
        verdict: "applies", "applies with the cut-off", "does not apply" or "unknown".
        reason: why, and under which further conditions.
    """

    name: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Report:
    """Which assumptions hold, which theorem applies, and the numbers behind it.

    Attributes:
        assumptions: the verdicts on A1 to A7.
        theorems: the verdicts on both theorems.
        numbers: constants, by name; what is not known is missing.
        notes: remarks that no verdict contains.
    """

    assumptions: tuple[Assumption, ...]
    theorems: tuple[Theorem, ...]
    numbers: dict[str, float]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Assumption:
        """The verdict on one assumption, by its name."""
        for assumption in self.assumptions:
            if assumption.name == name:
                return assumption
        raise KeyError(f"There is no assumption {name!r}; they are {', '.join(_STATEMENTS)}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: numbers that are not finite become strings."""
        plain = lambda x: x if math.isfinite(x) else str(x)
        return {
            "assumptions": {
                a.name: {
                    "statement": a.statement,
                    "verdict": a.verdict,
                    "basis": a.basis,
                    "reason": a.reason,
                }
                for a in self.assumptions
            },
            "theorems": {t.name: {"verdict": t.verdict, "reason": t.reason} for t in self.theorems},
            "numbers": {name: plain(value) for name, value in self.numbers.items()},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = []
        for item in (*self.assumptions, *self.theorems):
            lines.append(f"{item.name}: {item.verdict}")
            basis = f" [{item.basis}]" if isinstance(item, Assumption) and item.basis else ""
            lines += textwrap.wrap(
                item.reason + basis, 96, initial_indent="    ", subsequent_indent="    "
            )
        lines.append("Numbers")
        lines += [f"    {name:<28}{value:.4g}" for name, value in self.numbers.items()]
        if self.notes:
            lines.append("Notes")
        for note in self.notes:
            lines += textwrap.wrap(note, 96, initial_indent="  - ", subsequent_indent="    ")
        return "\n".join(lines)
