"""What ``examine`` and ``train`` do with what was asked: tell how it goes, draw the page of what there is."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flexure.cli.show import is_main, say, show, stderr
from flexure.cli.watch import Watch

if TYPE_CHECKING:
    from flexure.runs.request import Request
    from flexure.runs.training_request import TrainingRequest

__all__ = ["carry_out"]


def carry_out(asked: "Request | TrainingRequest", command: str) -> int:
    """Carry it out and return the exit code; who stops it is told how to go on with this command."""
    from flexure.runs.examine import IncompleteRunError

    watch = Watch(stderr())
    try:
        done = asked.carry_out(progress=watch, say=say)
    except KeyboardInterrupt:
        _explain_stop(asked.out, command)
        raise
    except IncompleteRunError as wrong:
        print(f"flexure: {wrong}", file=sys.stderr)
        show(wrong.run)
        return 1
    finally:
        watch.close()
    show(done)
    return 0


def _explain_stop(folder: Path, command: str) -> None:
    if is_main() and (folder / "spec.yaml").is_file():
        from flexure.runs.environment import command_line

        program = "__main__.py" if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" else "flexure"
        again = command_line([program, command, "--out", str(folder), "--resume"])
        print(f"stopped; what is finished is in {folder}. Go on with: {again}", file=sys.stderr)
