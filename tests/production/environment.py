"""The environment of a container as its engine would give it, and what of it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class Recorded(dict[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - dict's own signature
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)


def interpolated(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    return {name: substitute(value, given) for name, value in environment.items()}


def substitute(value: str, given: Mapping[str, str]) -> str:
    """``${NAME:?}`` and ``${NAME:-default}`` as Compose reads them. Raises ``KeyError`` for one that is required."""

    def replace(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        if given.get(name):
            return given[name]
        if operator == ":-":
            return str(default)
        raise KeyError(name)

    return re.sub(r"\$\{(\w+)(:\?|:-)([^}]*)\}", replace, value)
