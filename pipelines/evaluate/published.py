"""Tables that a command writes into a page of the documentation, between two marks. Measures nothing.

A page says where: ``<!-- name -->`` on a line of its own, and ``<!-- /name -->`` on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class NotMarkedError(ValueError):
    """The page has no place for the table."""


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def publish(page: Path, name: str, text: str) -> None:
    """Puts ``text`` where ``page`` has the marks of ``name``, in place of what is there.

    Raises:
        NotMarkedError: the marks are not there, or not in order; the page is left as it is.
        OSError: the page cannot be read or written.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise NotMarkedError(f"{page} has no {begin.strip()} ... {end}")
    page.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")
