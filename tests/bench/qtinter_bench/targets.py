"""What our attached loop has to reach on a line of the table.

Every comparison uses the *advantage*: a ratio oriented so that a number above 1
means that ours is better, whether the line is a rate or a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

NO_DIFFERENCE = 0.05
"""Two medians whose ratio is within this distance of 1 count as equal."""


def advantage(ours: float, other: float, higher_is_better: bool) -> float:
    """How much better ``ours`` is than ``other``; infinite if other is zero."""
    if ours == other:
        return 1.0
    better, worse = (ours, other) if higher_is_better else (other, ours)
    return float("inf") if worse == 0 else better / worse


def is_no_difference(ratio: float) -> bool:
    """True if the ratio is too close to 1 to be called a difference."""
    return abs(ratio - 1) <= NO_DIFFERENCE


@dataclass(frozen=True)
class Target:
    """One requirement.

    With ``reference`` (a peer's name, or "best" for the best peer that is not
    ours) the advantage over it must exceed ``factor``; with ``limit`` our own
    value must not be worse than it.
    """

    text: str
    reference: Optional[str] = None
    factor: float = 1.0
    limit: Optional[float] = None

    def met(
        self, ours: float, references: Mapping[str, float], higher_is_better: bool
    ) -> Optional[bool]:
        """True or False; None if the peer to compare with was not measured."""
        if self.limit is not None:
            return ours >= self.limit if higher_is_better else ours <= self.limit
        if self.reference not in references:
            return None
        other = references[self.reference]
        return advantage(ours, other, higher_is_better) >= self.factor


def ahead_of(peer: str) -> Target:
    """Better than the peer by more than "no difference"."""
    return Target(f"ahead of {peer}", peer, 1 + NO_DIFFERENCE)


def level_with(peer: str) -> Target:
    """Not worse than the peer by more than "no difference"."""
    return Target(f"level with {peer}", peer, 1 - NO_DIFFERENCE)


def times(factor: float, peer: str) -> Target:
    """A rate at least ``factor`` times the peer's."""
    return Target(f"≥ {factor:g} × {peer}", peer, factor)


def at_most_times(factor: float, peer: str) -> Target:
    """A time at most ``factor`` times the peer's."""
    return Target(f"≤ {factor:g} × {peer}", peer, 1 / factor)


def at_least(limit: float, text: str) -> Target:
    """A rate of at least ``limit``, in the line's unit."""
    return Target(f"≥ {text}", limit=limit)


def at_most(limit: float, text: str) -> Target:
    """A time, size or count of at most ``limit``, in the line's unit."""
    return Target(f"≤ {text}", limit=limit)
