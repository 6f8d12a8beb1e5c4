"""How the documentation is built: Markdown pages, the API from the docstrings, every warning an error, no network."""

import doctest
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded, as the command line does

from alike import alike  # noqa: E402
from docutils.nodes import SkipNode  # noqa: E402
from docutils.utils.math.latex2mathml import tex2mathml  # noqa: E402
from pydantic import BaseModel  # noqa: E402

import flexure  # noqa: E402
from flexure.perturb.diffeomorphism import Folds  # noqa: E402

project = "Flexure"
author = "The Flexure authors"
copyright = "The Flexure authors"
version = release = flexure.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore = [("py:class", "flexure.distributed.T")]  # stands for any type
default_role = "code"

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"Flexure {version}"
html_static_path: list[str] = []
html_copy_source = False
html_show_sphinx = False

# --- examples: code in pages runs, and what it prints is compared --------------------------------------------------

doctest_test_doctest_blocks = ""  # those in docstrings are run by the tests
ROUGHLY = doctest.register_optionflag("ROUGHLY")  # before any page asks for it
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | ROUGHLY


class Checker(doctest.OutputChecker):
    """Numbers that a training ends in need not agree to the last digit on every processor."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Whether the two agree, exactly or, with ROUGHLY, as far as can be asked for."""
        return super().check_output(want, got, optionflags) or (bool(optionflags & ROUGHLY) and alike(want, got))


doctest.OutputChecker = Checker  # sphinx makes its runner with whatever stands here

# --- formulas: as MathML, which browsers draw by themselves; no script, no network -----------------------------------


_SPELLED = {r"\dots": r"\ldots", r"\Big(": r"\Bigl(", r"\Big)": r"\Bigr)"}  # as the converter knows them


def _mathml(node: Any, *, block: bool) -> str:
    formula = node.astext()
    for given, known in _SPELLED.items():
        formula = formula.replace(given, known)
    return tex2mathml(formula, as_block=block)


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(_mathml(node, block=False))
    raise SkipNode


def _block(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, block=True)}</div>')
    raise SkipNode


# --- links to other projects: a few names each, listed here, because a build must not need the network -------------

_SITES = {
    "python": ("https://docs.python.org/3/", "python.txt"),
    "numpy": ("https://numpy.org/doc/stable/", "numpy.txt"),
    "pandas": ("https://pandas.pydata.org/docs/", "pandas.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "torch.txt"),
}


def _inventory(name: str, listing: Path) -> Path:
    """Sphinx's compressed form of a listing whose lines are ``name role page``."""
    lines = [line.split() for line in listing.read_text().splitlines() if line and not line.startswith("#")]
    body = "".join(
        f"{target} {role} 1 {page if '#' in page else f'{page}#{target}'} -\n" for target, role, page in lines
    )
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# The remainder is compressed using zlib.\n"
    path = HERE / "_build" / "inventories" / f"{name}.inv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + zlib.compress(body.encode()))
    return path


intersphinx_mapping = {
    name: (site, str(_inventory(name, HERE / "inventories" / listing))) for name, (site, listing) in _SITES.items()
}

# --- docstrings -----------------------------------------------------------------------------------------------------

_HEADING = re.compile(r"^(Cost|Exact case|Source): (.*)$")
_TUPLE_FIELD = type(Folds.folded)


def _headings_as_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our own headings (``Cost: …``) and ``Returns`` become fields; fields of a spec are listed as attributes."""
    found: list[str] = []
    inside = False
    for line in lines:
        if heading := _HEADING.match(line):
            found += ["", f":{heading[1]}: {heading[2]}"]
        elif line == "Returns:":
            found += ["", ":returns:"]
        else:
            found.append(f"    {line.lstrip()}" if inside and line.strip() else line)
        inside = bool(line.strip()) and (inside or bool(heading))
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        found += [
            "Attributes:",
            *(f"    {field}: {about.description}" for field, about in obj.model_fields.items()),
            "",
        ]
    lines[:] = found


def _readable(app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, result: str | None) -> Any:
    """A dataclass's ``<factory>`` is no Python, and spoils the types beside it; a spec's fields are listed below it.

    A protocol is not called at all.
    """
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        return "(**fields)", result
    if getattr(obj, "_is_protocol", False):
        return "", None
    return (signature.replace("<factory>", "..."), result) if signature else None


def _is_listed_already(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of a named tuple stand in its docstring."""
    return True if isinstance(obj, _TUPLE_FIELD) else None


def _by_short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A bare name in a docstring means the one thing of that name, wherever it is documented."""
    target, domain = node.get("reftarget", ""), env.get_domain("py")
    if node.get("refdomain") != "py" or "." in target:
        return None
    places = {name: entry for name, entry in domain.objects.items() if name.endswith(f".{target}")}
    distinct = {(entry.docname, entry.node_id): name for name, entry in places.items()}
    best = f"flexure.{target}"
    if best not in places:
        if len(distinct) != 1:
            return None
        best = next(iter(distinct.values()))
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], best, node, contnode)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _headings_as_fields, priority=400)
    app.connect("autodoc-process-signature", _readable)
    app.connect("autodoc-skip-member", _is_listed_already)
    app.connect("missing-reference", _by_short_name)
