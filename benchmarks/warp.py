"""How fast is one field per image? Batched deformations against a plain loop over images and OpenCV's remap in one.

python benchmarks/warp.py [--rounds N]

CPU time of one thread, float32, RGB, displacement 1; tasks take turns within a round. Keyed draws are included on our
side; the loop draws with torch.randn and gets its waves for free. OpenCV is handed our fields (drawn within its time)
and images that already lie channels last; it is left out where it is not installed (opencv-python-headless).
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import torch
from timing import ratios

from flexure.formulas import maximum_entropy as law
from flexure.perturb.diffeomorphism import Diffeomorphism

# images, side, cut-off, least speed relative to the loop, most time relative to OpenCV
SETTINGS = [(256, 32, 3, 13.0, None), (256, 32, 15, 10.0, None), (16, 224, 3, 4.5, 1.7), (16, 224, 15, 4.5, 1.7)]


def waves(n: int, cutoff: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Spread of each coefficient, and the sines ``(n, cutoff)``, for the loop."""
    k = torch.arange(1, cutoff + 1)
    radius = (k[:, None] ** 2 + k**2).sqrt()
    return (radius < cutoff + 0.5) / radius, torch.sin(torch.pi * torch.linspace(0, 1, n)[:, None] * k)


def loop_field(n: int, temperature: float, spread: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """One component of one field by one product of three factors, as the papers' code has it."""
    coefficients = temperature**0.5 * torch.randn(spread.shape) * spread
    return n * torch.einsum("ij,xi,yj->yx", coefficients, sines, sines)


def loop_warp(image: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    """One image pulled back by four gathers."""
    n = image.shape[-1]
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    x, y = (x - dx).clamp(0, n - 1), (y - dy).clamp(0, n - 1)
    left, top, right, bottom = x.floor().long(), y.floor().long(), x.ceil().long(), y.ceil().long()
    a, b = x - left, y - top
    return (
        (1 - b) * (1 - a) * image[:, top, left]
        + (1 - b) * a * image[:, top, right]
        + b * (1 - a) * image[:, bottom, left]
        + b * a * image[:, bottom, right]
    )


def loop(images: torch.Tensor, cutoff: int) -> Callable[[], object]:
    """Deform image after image."""
    n = images.shape[-1]
    temperature = law.temperature(1.0, cutoff, n)
    spread, sines = waves(n, cutoff)

    def run() -> list[torch.Tensor]:
        fields = (loop_field(n, temperature, spread, sines) for _ in range(2 * len(images)))
        return [loop_warp(image, next(fields), next(fields)) for image in images]

    return run


def opencv(images: torch.Tensor, index: torch.Tensor, deform: Diffeomorphism) -> Callable[[], object] | None:
    """Draw all fields as we do, then remap image after image; None without OpenCV."""
    if find_spec("cv2") is None:
        return None
    import cv2

    cv2.setNumThreads(1)
    n = images.shape[-1]
    pictures = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    places = torch.stack([x, y]).float()

    def run() -> list[object]:
        maps = (places - deform.fields(index, n, n, seed=0)).numpy()
        options = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
        return [cv2.remap(image, *pair, **options) for image, pair in zip(pictures, maps, strict=True)]

    return run


def check(images: torch.Tensor, index: torch.Tensor, deform: Diffeomorphism, cv: Callable[[], object] | None) -> str:
    """Largest differences between the ways to warp, given the same fields: they must do the same work."""
    n = images.shape[-1]
    ours = deform(images, index, seed=0)
    fields = deform.fields(index, n, n, seed=0)
    plain = torch.stack([loop_warp(image, *field) for image, field in zip(images, fields, strict=True)])
    words = f"largest difference to the loop, same fields: {(ours - plain).abs().max():.1e}"
    if cv is None:
        return words
    theirs = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in cv()])
    return f"{words}; to OpenCV: {(ours - theirs).abs().max():.1e}"


def table(seconds: Mapping[str, list[float]], targets: Mapping[str, str]) -> str:
    """Median CPU time and speed relative to the loop, with quartiles over the rounds."""
    lines = ["| task | CPU ms | speed, loop = 1 | quartiles | target |", "|---|---|---|---|---|"]
    for name, values in seconds.items():
        speed = [base / value for value, base in zip(values, seconds["loop over images"], strict=True)]
        low, middle, high = statistics.quantiles(speed, n=4)
        median = 1000 * statistics.median(values)
        lines.append(f"| {name} | {median:.2f} | {middle:.1f} | {low:.1f}–{high:.1f} | {targets.get(name, '')} |")
    return "\n".join(lines)


def measure(count: int, n: int, cutoff: int, least: float, most: float | None, rounds: int) -> None:
    """One setting: check, time, print."""
    images = torch.rand(count, 3, n, n, generator=torch.Generator().manual_seed(0))
    wide, index = images.double(), torch.arange(count)
    deform = Diffeomorphism(cutoff=cutoff)
    gaussian = Diffeomorphism(cutoff=cutoff, interpolation="gaussian")
    cv = opencv(images, index, deform)
    tasks = {
        "loop over images": loop(images, cutoff),
        "batched": lambda: deform(images, index, seed=0),
        "batched, fields alone": lambda: deform.fields(index, n, n, seed=0),
        "batched, Gaussian": lambda: gaussian(images, index, seed=0),
        "batched, float64": lambda: deform(wide, index, seed=0),
    }
    if cv is not None:
        tasks["OpenCV remap in a loop"] = cv
    seconds = ratios(tasks, rounds=rounds)
    print(f"### {count} images of 3×{n}², cut-off {cutoff}\n")
    print(table(seconds, {"batched": f"≥ {least:g}"}))
    if cv is None:
        print("| OpenCV remap in a loop | not installed | | | |")
    else:
        relative = [a / b for a, b in zip(seconds["batched"], seconds["OpenCV remap in a loop"], strict=True)]
        target = f" (target: at most {most:g})" if most else ""
        print(f"\nbatched takes {statistics.median(relative):.2f} times OpenCV's time{target}")
    print(f"\n{check(images, index, deform, cv)}\n")


def main() -> None:
    """Parse the command line and measure every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for setting in SETTINGS:
        measure(*setting, rounds=options.rounds)


if __name__ == "__main__":
    main()
