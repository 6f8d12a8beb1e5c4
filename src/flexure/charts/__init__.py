"""Pictures: results go in, Altair charts come out; models never get here."""

from flexure.charts.draw import chart

__all__ = ["chart"]
