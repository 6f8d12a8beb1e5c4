"""What does asking for help cost? CPU time of ``flexure --help`` beside a bare interpreter, and what it imports.

python benchmarks/cli.py
"""

import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 7
HEAVY = ("torch", "numpy", "pandas", "pydantic", "sklearn", "altair")
HELP = "from flexure.cli import run; run(['--help'])"


def cpu(code: str) -> float:
    """CPU seconds of a fresh interpreter that runs ``code``, its start included."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def imported() -> list[str]:
    """Which of the heavy packages the help imports."""
    code = f"{HELP}; import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    """Interleaved rounds, medians, the ratio."""
    began = time.perf_counter()
    rounds = [(cpu("pass"), cpu(HELP)) for _ in range(ROUNDS)]
    bare, helped = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"flexure --help: {helped:.2f} s CPU (target: under 0.5), {helped / bare:.1f} times a bare interpreter")
    print(f"heavy packages imported: {', '.join(imported()) or 'none'}")
    print(f"median of {ROUNDS} rounds, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
