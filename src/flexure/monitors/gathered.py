"""What monitors have left in a folder, as one result."""

import os

from flexure.monitors import written
from flexure.monitors.trajectories import read_paths
from flexure.results import Result

__all__ = ["gather"]


def gather(folder: str | os.PathLike, probe: str) -> Result:
    """How did the answer of a probe change while the network learnt?

    Args:
        folder: Folder of the training: the ``out`` of its :class:`Monitor`.
        probe: Name of the probe, or ``"trajectories"``.

    Returns:
        A result named ``monitor_<probe>``: the tables of all measured steps, with the columns ``step`` and ``epoch`` in
        front; of trajectories what :meth:`Trajectories.result` returns. A training that was killed has what it had
        measured.

    Raises:
        ArgumentError: No such probe.
        RunError: Nothing was measured there, a file cannot be read, or steps were measured with different settings or
            in different trainings.
    """
    return read_paths(folder) if probe == "trajectories" else written.gather(folder, probe)
