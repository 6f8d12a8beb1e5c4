"""The command line: parse, call, print, exit code. Whatever is heavy is imported inside the command that needs it."""

from flexure.cli.root import app
from flexure.cli.start import main, run

__all__ = ["app", "main", "run"]
