"""Reference files: what was learnt of a profile, as TOML text. Learns nothing, reads nothing back.

The way back is ``pipelines.pose.profile.load``, which joins a reference file with its profile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec

from pipelines.pose.profile import MovementProfile

HEAD: Final = """\
# Learnt from recordings by `restartix fit-references`; the next fit replaces the whole file.
# What is written in profiles/{name}.toml comes first, so correct a figure there.
"""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(each) for each in value)}]"
    return repr(value)


def _tables(value: object) -> list[dict[str, object]] | None:
    """The tables ``value`` is made of; None where it is a plain value."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return list(value)
    return None


def _lines(table: dict[str, object], path: tuple[str, ...]) -> Iterator[str]:
    """Plain values first, then tables, each under its full name; what is None is left out."""
    for key, value in table.items():
        if value is not None and _tables(value) is None:
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        name = ".".join((*path, key))
        for each in _tables(value) or []:
            yield ""
            yield f"[{name}]" if isinstance(value, dict) else f"[[{name}]]"
            yield from _lines(each, (*path, key))


def reference_text(by_hand: MovementProfile, learnt: MovementProfile) -> str:
    """The reference file of a profile: what ``learnt`` has beyond ``by_hand``."""
    written = {each.name for each in by_hand.compensations}
    table: dict[str, object] = msgspec.to_builtins(
        {
            "reference": learnt.reference,
            "target": learnt.target if by_hand.target is None else None,
            "compensations": [each for each in learnt.compensations if each.name not in written],
        }
    )
    return HEAD.format(name=by_hand.name) + "\n".join(_lines(table, ())) + "\n"
