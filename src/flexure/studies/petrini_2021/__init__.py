"""Petrini et al. 2021: relative stability toward diffeomorphisms goes with performance."""
