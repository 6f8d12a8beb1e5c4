"""What does the network's output make of deformations, from invisible ones to folding ones, of every roughness?"""

from flexure.probes.phase_diagram.probe import phase_diagram

__all__ = ["phase_diagram"]
