"""The page: runs go in, one self-contained HTML file comes out."""

from flexure.page.build import report

__all__ = ["report"]
