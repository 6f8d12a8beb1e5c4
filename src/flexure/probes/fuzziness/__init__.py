"""How undecided are the weights of each layer between the ends of their interval, and is it more than chance?"""

from flexure.probes.fuzziness.probe import fuzziness

__all__ = ["fuzziness"]
