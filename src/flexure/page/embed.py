"""What goes into the page besides words: charts as data, the library that draws them, and the rule against all else."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import vl_convert

from flexure.charts import chart
from flexure.results import Result

__all__ = ["Picture", "bundle", "json_for_html", "picture", "pictures", "policy", "pooled"]

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class Picture:
    """A chart ready for the page.

    Attributes:
        title: Its heading, set as text of the page.
        remarks: What it says about itself, sentence by sentence.
        spec: The Vega-Lite specification, as wide as its place.
    """

    title: str
    remarks: tuple[str, ...]
    spec: dict[str, Any]


def picture(drawn: Any, height: int) -> Picture:
    """An Altair chart as a picture of the page: its title becomes text, its width that of its place."""
    spec = drawn.to_dict()
    title = spec.pop("title", {})
    legend = spec.setdefault("config", {}).setdefault("legend", {})
    legend["layout"] = {side: {"direction": "vertical", "anchor": "start", "margin": 6} for side in ("top", "bottom")}
    spec["config"]["background"] = "transparent"
    spec.update(width="container", height=height, autosize={"type": "fit-x", "contains": "padding"})
    return Picture(title.get("text", ""), tuple(title.get("subtitle", ())), spec)


def pictures(results: Sequence[Result], labels: Sequence[str], heights: Mapping[str, int]) -> list[Picture]:
    """The chart of each of these quantities, as high as it says there; the first has the legend of all."""
    return [
        picture(chart(list(results), labels=labels, y=name, legend=i == 0), height)
        for i, (name, height) in enumerate(heights.items())
    ]


def pooled(pictures: Sequence[Picture]) -> dict[str, Any]:
    """The data of all pictures, each set once, taken out of their specifications."""
    pool: dict[str, Any] = {}
    for one in pictures:
        pool |= one.spec.pop("datasets", {})
    return pool


def json_for_html(value: Any) -> str:
    r"""JSON that may stand inside a script element whatever strings it holds; NaN is refused.

    >>> print(json_for_html({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(str.maketrans(_UNSAFE))


@cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, kept out of the page's own names."""
    return f"(()=>{{{vl_convert.javascript_bundle('window.vegaEmbed=vegaEmbed;')}}})()".replace("\r\n", "\n")


def policy(scripts: Sequence[str]) -> str:
    """The content security policy under which these scripts run and nothing else does, nor anything is fetched."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
