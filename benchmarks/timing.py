"""Ratios of CPU time, interleaved in one run: what the benchmarks have in common."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

__all__ = ["ratios", "table"]


def ratios(tasks: Mapping[str, Callable[[], object]], *, rounds: int = 9, warmups: int = 1) -> dict[str, list[float]]:
    """CPU seconds of each task in each round, one thread, the tasks taking turns within a round."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(warmups + rounds):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if number >= warmups:
                seconds[name].append(time.process_time() - start)
    return seconds


def table(
    title: str, seconds: Mapping[str, list[float]], baseline: str, targets: Mapping[str, str] | None = None
) -> str:
    """A Markdown table: median time, ratio to the baseline (median over rounds, quartiles), the target beside it."""
    lines = [f"### {title}", "", "| task | CPU ms | × " + baseline + " | quartiles | target |", "|---|---|---|---|---|"]
    for name, values in seconds.items():
        relative = [value / base for value, base in zip(values, seconds[baseline], strict=True)]
        low, middle, high = statistics.quantiles(relative, n=4) if len(relative) > 1 else [relative[0]] * 3
        lines.append(
            f"| {name} | {1000 * statistics.median(values):.1f} | {middle:.3f} | {low:.3f}–{high:.3f} "
            f"| {(targets or {}).get(name, '')} |"
        )
    return "\n".join(lines) + "\n"
