"""What a run says about itself, gathered from wherever it is written, with words where nothing is."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from flexure.results import Result, Run

__all__ = ["NOT_RECORDED", "command_of", "normalization_of", "rows_of", "settings_of", "shared_settings", "tree"]

NOT_RECORDED = "not recorded"
_MANY = 12  # items of a list that are written out
_LONG = 400  # characters of a single value

_PHRASES = {
    "interpolation": {
        "bilinear": "bilinear warp", "gaussian": "Gaussian warp", "nearest": "nearest-pixel warp",
    },
    "match": {
        "per_image": "as large as that image's change (equal norm)",
        "batch_mean": "as large as the batch's mean change",
        "batch_rms": "as large as the batch's root mean square change",
        "fixed": "of a fixed norm",
    },
    "space": {"normalized": "the normalized input", "pixel": "the pixels, before normalization"},
    "reduction": {
        "mean": "mean over images", "coordinate_median": "median over images, coordinate by coordinate",
        "norm_median": "median of the squared norms",
    },
    "same_pairs": {
        "True": "all pairs of images, an image with itself included", "False": "all pairs of two different images",
    },
    "batch_norm": {"running": "running statistics", "batch": "statistics of the batch"},
}  # fmt: skip


def settings_of(result: Result) -> dict[str, Any]:
    """The settings of the measurement; empty where none were recorded."""
    return dict(result.provenance.get("settings") or {})


def shared_settings(results: Sequence[Result]) -> dict[str, Any]:
    """The settings that all measurements have in common: what prose about them may rely on."""
    first, *others = map(settings_of, results)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _data_of(run: Run, result: Result) -> tuple[str, int | None]:
    """Name of the data and number of images."""
    data = result.provenance.get("data") or {}
    name = data.get("name") or run.spec.get("data") or NOT_RECORDED
    count = data.get("n")
    if count is None and "n" in result.table and len(result):
        count = int(result.table["n"].max())
    return str(name), count


def command_of(run: Run, result: Result) -> str:
    """The command that made the result, or empty."""
    command = result.provenance.get("command") or run.environment.get("command") or ""
    return command if isinstance(command, str) else shlex.join(map(str, command))


def normalization_of(result: Result) -> str:
    """Which normalization was used, in words."""
    specimen = result.provenance.get("specimen") or {}
    if "normalize" not in specimen:
        return NOT_RECORDED
    if not specimen["normalize"]:
        return "none: the network takes the data as they are"
    mean, std = specimen["normalize"]
    return f"mean {_numbers(mean)}, standard deviation {_numbers(std)}"


def rows_of(run: Run, result: Result) -> dict[str, str]:
    """How the measurement was made: one phrase per line of the page's table."""
    settings, provenance = settings_of(result), result.provenance
    data, count = _data_of(run, result)
    rows = {
        "network": str((provenance.get("specimen") or {}).get("name") or run.spec.get("model") or run.name),
        "data": data,
        "images": None if count is None else f"{count:,}",
        "draws per image": settings.get("draws"),
        "initialized networks": provenance.get("initialized"),
        "transform" if settings.get("transform") else "deformation": _deformation(settings),
        "noise": _noise(settings),
        "both act on": phrase(settings, "space"),
        "normalization": normalization_of(result),
        "averaging": phrase(settings, "reduction"),
        "distances": phrase(settings, "same_pairs"),
        "batch norm": phrase(settings, "batch_norm"),
        "seed": provenance.get("seed", run.spec.get("seed")),
        "device": _device(run, result),
        "rows forward": _rows_forward(provenance.get("passes")),
    }
    return {label: NOT_RECORDED if value is None else str(value) for label, value in rows.items()}


def _rows_forward(passes: Any) -> str | None:
    """How many images went through the network, copies counted."""
    if not isinstance(passes, Mapping):
        return None if passes is None else str(passes)
    again, shuffled = passes.get("extra_clean"), passes.get("shuffled_rows")
    more = f", {again:,} of them clean ones again" if again else ""
    more += f", and {shuffled + passes.get('reestimation_rows', 0):,} with shuffled channels" if shuffled else ""
    return f"{passes['rows']:,}{more}" if "rows" in passes else None


def _noise(settings: Mapping[str, Any]) -> str | None:
    sigma = settings.get("sigma")
    size = f"of norm {sigma:.4g}" if sigma is not None else phrase(settings, "match")
    return f"rectified; before that {size}" if settings.get("noise") == "rectified" else size


def phrase(settings: Mapping[str, Any], key: str) -> str | None:
    """A setting in words; as it stands where there are none for it."""
    value = settings.get(key)
    return None if value is None else _PHRASES[key].get(str(value), str(value))


def _deformation(settings: Mapping[str, Any]) -> str | None:
    if settings.get("transform"):
        return str(settings["transform"])
    parts = [
        f"nominal displacement {settings['displacement']:.4g} px" if _is_number(settings, "displacement") else None,
        f"temperature {settings['temperature']:.4g}" if _is_number(settings, "temperature") else None,
        f"cutoff {settings['cutoff']}" if settings.get("cutoff") is not None else None,
        phrase(settings, "interpolation"),
    ]
    return ", ".join(part for part in parts if part) or None


def _is_number(settings: Mapping[str, Any], key: str) -> bool:
    return isinstance(settings.get(key), int | float)


def _device(run: Run, result: Result) -> str | None:
    device = result.provenance.get("device") or run.environment.get("device")
    parts = [str(part) for part in (device, result.provenance.get("dtype")) if part]
    return ", ".join(parts) or None


def _numbers(part: Sequence[float] | float) -> str:
    values = [part] if isinstance(part, int | float) else list(part)
    return f"({', '.join(f'{value:.4g}' for value in values)})" if len(values) > 1 else f"{values[0]:.4g}"


def tree(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested records as flat rows of dotted names and text, long lists and texts cut with a word on what is missing.

    >>> tree({"versions": {"torch": "2.13"}, "bounds": [0, 1]})
    [('versions.torch', '2.13'), ('bounds', '0, 1')]
    """
    if isinstance(value, Mapping):
        return [row for key, part in value.items() for row in tree(part, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list | tuple):
        rest = f" … and {len(value) - _MANY} more" if len(value) > _MANY else ""
        return [(path, ", ".join(_cut(str(part)) for part in value[:_MANY]) + rest)]
    return [(path, _cut("none" if value is None else str(value)))]


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]} … and {len(text) - _LONG} more characters"
