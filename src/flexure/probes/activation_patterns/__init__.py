"""Which units do two images switch on together?"""

from flexure.probes.activation_patterns.probe import activation_patterns

__all__ = ["activation_patterns"]
