"""Which spatial frequencies do the filters of each convolution carry, and how near are they to pooling?"""

from flexure.probes.filters.probe import filters

__all__ = ["filters"]
