"""How undecided the weights of each layer were while a network learnt, beside layers of independent weights."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.monitor import moments
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95
from flexure.charts.theme import STROKE, color_scale, colors, configured, legend_of, stacked
from flexure.charts.training import thinned
from flexure.results import Result

__all__ = ["QUANTITIES", "draw", "layers_of", "reading_of"]

QUANTITIES = {
    "fuzziness": ("Fuzziness of {}", "1: all weights undecided, 0: each at an end of its interval."),
    "center_distance": ("Distance of {} from the center of the interval", "0: at the center, 1: at an end or beyond."),
}
LAWS = {"uniform": "uniform", "gaussian": "Gaussian", "laplace": "Laplace"}
_GRAYS = ["#c9ced6", "#9fa8b3", "#76808c"]
_WIDTH, _HEIGHT = 640, 280
_MOST_LAYERS, _MOST_POINTS = 7, 400

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How undecided were the weights of each layer while the network learnt?

    Of each result the first interval and index that were asked for. Bands of a layer's curve are value ± 1.96 standard
    errors over weights; gray where 95 % of layers of independent weights lie, as many and as large.

    Args:
        results: Monitored results of ``fuzziness``.
        labels: A distinct name for each.
        y: ``"fuzziness"`` (default) or ``"center_distance"`` of the first seven layers, a panel per result;
            ``"fuzziness:conv1"`` for one layer beside layers of independent weights; or several of these.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    own = [f"{name}:{layer}" for name in QUANTITIES for one in results for layer in layers_of(one)]
    panels: list[Any] = []
    for wanted in asked("monitor_fuzziness", y, [*QUANTITIES, *own], ["fuzziness"]):
        name, _, layer = wanted.partition(":")
        for result, label in zip(results, labels, strict=True):
            where = f"{label}: " if len(results) > 1 else ""
            make = _of_layer if layer else _of_layers
            panels.append(make(result, name, where, layer, legend))
    picture = stacked(panels)
    return configured(picture.resolve_scale(color="independent") if len(panels) > 1 else picture)


def layers_of(result: Result) -> list[str]:
    """The layers, in order of definition."""
    return [str(layer) for layer in dict.fromkeys(column(result, "layer", "")) if layer != "output"]


def reading_of(result: Result) -> tuple[str, str]:
    """The interval and the index that are drawn."""
    pairs = zip(column(result, "interval"), column(result, "index"), strict=True)
    return next(((str(interval), str(index)) for interval, index in pairs if interval is not None), ("", ""))


def _rows(result: Result, name: str, layers: Sequence[str]) -> Rows:
    """A record per look and layer, of the interval and index that are drawn."""
    ends = ["", "_se", *(f"_{law}_{end}" for law in LAWS for end in ("low", "high"))]
    keys = ["layer", "step", "epoch", "interval", "index", "n", "status", *(f"{name}{end}" for end in ends)]
    columns = {key: column(result, key) for key in keys}
    reading, (_, places) = reading_of(result), moments(result)
    kept = [
        i
        for i in range(len(result))
        if columns["layer"][i] in layers and (columns["interval"][i], columns["index"][i]) == reading
    ]
    shown = {sorted({places[i] for i in kept})[at] for at in thinned(len({places[i] for i in kept}), _MOST_POINTS)}
    return [
        {"x": places[i], "value": columns[name][i], "se": columns[f"{name}_se"][i]}
        | {key: columns[key][i] for key in ("layer", "step", "n", "status")}
        | {f"{law}_{end}": columns[f"{name}_{law}_{end}"][i] for law in LAWS for end in ("low", "high")}
        for i in kept
        if places[i] in shown
    ]


def _of_layers(result: Result, name: str, where: str, _: str, legend: bool) -> Any:
    """The first few layers in one panel."""
    layers = layers_of(result)
    rows = _rows(result, name, layers[:_MOST_LAYERS])
    names = distinct(rows, "layer")
    look = legend_of(names if legend else [], **STROKE)
    color = alt.Color("layer:N", scale=color_scale(names), legend=look)
    few = f" The first {_MOST_LAYERS} of {len(layers)} layers." if len(layers) > _MOST_LAYERS else ""
    title = _title(result, name, where, "each layer", f"Bands: 95 % intervals over weights.{few}")
    return _curves(rows, result, color).properties(width=_WIDTH, height=_HEIGHT, title=title)


def _of_layer(result: Result, name: str, where: str, layer: str, legend: bool) -> Any:
    """One layer beside layers of independent weights."""
    rows = _rows(result, name, [layer])
    words = "Gray: where 95 % of layers of independent weights of three laws lie, as many and as large."
    title = _title(result, name, where, layer, words)
    laws = [f"{called} weights" for called in LAWS.values()]
    bands = [
        {"x": row["x"], "law": called, "low": row[f"{law}_low"], "high": row[f"{law}_high"]}
        for law, called in zip(LAWS, laws, strict=True)
        for row in rows
        if row[f"{law}_low"] is not None
    ]
    curve = _curves(rows, result, alt.value(colors(1)[0]))
    look = legend_of(laws, symbolType="square", symbolOpacity=1) if legend else None
    shade = alt.Color("law:N", scale=alt.Scale(domain=laws, range=_GRAYS), legend=look)
    band = alt.Chart(alt.InlineData(values=bands)).mark_area(opacity=0.5, line={"strokeWidth": 1})
    band = band.encode(x=_x(result, rows), y=_y("low:Q"), y2="high:Q", color=shade, tooltip=[alt.Tooltip("law:N")])
    return (
        alt.layer(band, curve, title=title).resolve_scale(color="independent").properties(width=_WIDTH, height=_HEIGHT)
    )


def _curves(rows: Rows, result: Result, color: Any) -> Any:
    base = alt.Chart(alt.InlineData(values=rows)).transform_calculate(
        low=f"isValid(datum.se) ? datum.value - {Z95} * datum.se : null",
        high=f"isValid(datum.se) ? datum.value + {Z95} * datum.se : null",
    )
    hint = [alt.Tooltip("layer:N"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".4~g")]
    hint += [alt.Tooltip("se:Q", format=".2~g"), alt.Tooltip("n:Q", title="weights"), alt.Tooltip("status:N")]
    base = base.encode(x=_x(result, rows), color=color, detail="layer:N")
    band = base.mark_area(opacity=0.14, clip=True).encode(y=_y("low:Q"), y2="high:Q")
    line = base.mark_line(strokeWidth=2, strokeJoin="round").encode(y=_y("value:Q"))
    point = base.mark_point(filled=True, size=24, opacity=1).encode(y=_y("value:Q"), tooltip=hint)
    return alt.layer(band, line, point)


def _title(result: Result, name: str, where: str, of: str, words: str) -> alt.TitleParams:
    interval, index = reading_of(result)
    heading, meaning = QUANTITIES[name]
    of_index = f", index {index.replace('_', ' ')}" if name == "fuzziness" else ""
    subtitle = [f"Interval {interval}{of_index}. {meaning}", words]
    return alt.TitleParams(f"{where}{heading.format(of)}, while it learns", subtitle=subtitle)


def _x(result: Result, rows: Rows) -> alt.X:
    places = sorted({row["x"] for row in rows})
    ticks = [places[i] for i in thinned(len(places), 12)] if places else []
    look = alt.Axis(title=moments(result)[0], values=ticks, format="~g", grid=False)
    return alt.X("x:Q", scale=alt.Scale(nice=False), axis=look)


def _y(field: str) -> alt.Y:
    return alt.Y(field, axis=alt.Axis(title=None, tickCount=6, format="~g"), scale=alt.Scale(zero=False, nice=True))
