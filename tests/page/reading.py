"""A page as its reader meets it."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from flexure.page import report
from flexure.results import Run

NASTY = """<img src=x onerror="alert(1)">&'</script><script>alert(2)</script>"""


def page_of(*runs: Run, to: Path, **options) -> str:
    """The page of these runs, written into a folder."""
    return report(*runs, to=to / "page.html", **options).read_text(encoding="utf-8")


def data_in(page: str) -> dict:
    """The charts and their data."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


def without_scripts(page: str) -> str:
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)


def words_of(page: str) -> str:
    """The words between the elements."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", without_scripts(page))).split())


def elements_of(page: str) -> list[str]:
    """Names of the elements, in order, as a browser finds them."""
    found = _Elements()
    found.feed(page)
    return found.names


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
