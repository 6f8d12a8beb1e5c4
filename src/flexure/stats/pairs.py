"""Two answers to each question, yes or no, counted so that parts merge: their difference, and McNemar's test of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import binom

__all__ = ["Pairs"]


@dataclass(frozen=True)
class Pairs:
    """Counts of questions that were answered twice.

    Attributes:
        only_first: Questions to which the first answer alone was yes.
        only_second: Those to which the second alone was.
        n: All questions.
    """

    only_first: int
    only_second: int
    n: int

    @classmethod
    def empty(cls) -> "Pairs":
        """No questions: the neutral element of ``merge``."""
        return cls(0, 0, 0)

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> "Pairs":
        """Of answers ``(n,)``, question by question.

        >>> Pairs.of(np.array([True, True, False]), np.array([False, True, False]))
        Pairs(only_first=1, only_second=0, n=3)
        """
        first, second = np.asarray(first, bool), np.asarray(second, bool)
        return cls(int((first & ~second).sum()), int((second & ~first).sum()), len(first))

    def merge(self, other: "Pairs") -> "Pairs":
        """Both sets of questions together."""
        counts = zip(self.arrays(), other.arrays(), strict=True)
        return Pairs(*(one + two for one, two in counts))

    @classmethod
    def merged(cls, parts: Sequence["Pairs"]) -> "Pairs":
        """All parts together."""
        total = cls.empty()
        for part in parts:
            total = total.merge(part)
        return total

    def arrays(self) -> tuple[int, ...]:
        """The three counts, for storage and for sending."""
        return self.only_first, self.only_second, self.n

    @property
    def difference(self) -> float:
        """Share of yes among the first answers less that among the second; NaN where there are no questions."""
        return (self.only_first - self.only_second) / self.n if self.n else float("nan")

    @property
    def se(self) -> float:
        """Its standard error over questions, with divisor n - 1; NaN below two."""
        if self.n < 2:
            return float("nan")
        apart = self.only_first + self.only_second
        return float(np.sqrt((apart / self.n - self.difference**2) / (self.n - 1)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        r"""Both ends of an interval for the difference; with a width also where all answers agree.

        With half a question added to each kind, :math:`b' = b + 1/2`, :math:`c' = c + 1/2`, :math:`n' = n + 2`:

        .. math:: \frac{b' - c'}{n'} \pm \frac{z}{n'} \sqrt{b' + c' - (b' - c')^2 / n'}

        Source: Agresti and Min, Simple Improved Confidence Intervals for Comparing Matched Proportions (2005).
        """
        if not self.n:
            return float("nan"), float("nan")
        z, n = float(ndtri((1 + level) / 2)), self.n + 2
        gap, apart = self.only_first - self.only_second, self.only_first + self.only_second + 1
        half = z / n * float(np.sqrt(apart - gap**2 / n))
        return max(-1.0, gap / n - half), min(1.0, gap / n + half)

    @property
    def p_value(self) -> float:
        """How likely a coin would split the questions that differ so unevenly, after McNemar.

        >>> Pairs(0, 5, 100).p_value, Pairs(3, 3, 10).p_value, Pairs(0, 0, 10).p_value
        (0.0625, 1.0, 1.0)
        """
        apart = self.only_first + self.only_second
        return min(1.0, 2 * float(binom.cdf(min(self.only_first, self.only_second), apart, 0.5)))
