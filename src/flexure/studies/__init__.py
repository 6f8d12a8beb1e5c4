"""Published figures, redone with public names only: a number fixed beforehand for each claim, and a verdict."""

from flexure.studies.carry_out import STUDIES, study
from flexure.studies.claims import Claim, Finding, Study, verdict

__all__ = ["STUDIES", "Claim", "Finding", "Study", "study", "verdict"]
