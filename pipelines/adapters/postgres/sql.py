"""Reading named SQL files. A file holds statements introduced by ``-- name: <name>``; nothing is built from strings."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@functools.cache
def load(package: str, file_name: str) -> dict[str, LiteralString]:
    """The statements of ``file_name`` in ``package`` by name. Raises ``ValueError`` for a file without names.

    The text is a file of ours and holds no value of anybody else's, hence ``LiteralString``.
    """
    text = resources.files(package).joinpath(file_name).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{package}/{file_name}: no statement, or a name used twice")
    return {name: cast("LiteralString", body.strip()) for name, body in zip(names, bodies, strict=True)}
