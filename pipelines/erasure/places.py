"""What an erasure does with each column that says something about a patient, typed: ``places.toml`` and nothing else.

Belongs here: reading that file. Does not belong here: doing it (the functions of the migrations), the certificate.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Literal

import msgspec


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file."""


class Erased(_Entry, frozen=True, kw_only=True):
    """Tables whose rows of the patient are deleted."""

    tables: tuple[str, ...]


class Columns(_Entry, frozen=True, kw_only=True):
    """Columns of one table."""

    table: str
    columns: tuple[str, ...]


class Retained(Columns, frozen=True, kw_only=True):
    """Columns that stay under the random number, and the legal grounds by name."""

    title: str
    grounds: tuple[str, ...]


class Elsewhere(Columns, frozen=True, kw_only=True):
    """Columns of a personal, clinical or biometric kind that are no erased patient's."""

    why: str


class Places(_Entry, frozen=True, kw_only=True):
    """The whole file. Raises ``ValueError`` for a ground that is not there, or a column that is in two places."""

    version: Literal[1]
    grounds: dict[str, str]
    erased: tuple[Erased, ...]
    emptied: tuple[Columns, ...]
    replaced: tuple[Columns, ...]
    retained: tuple[Retained, ...]
    elsewhere: tuple[Elsewhere, ...]

    def __post_init__(self) -> None:
        for entry in self.retained:
            if not entry.grounds or not set(entry.grounds) <= self.grounds.keys():
                raise ValueError(f"{entry.title}: no such legal ground: {', '.join(entry.grounds) or 'none'}")
        columns = self.columns()
        if len(columns) != len(set(columns)):
            raise ValueError("a column is in two places")
        if torn := {table for table, _ in columns} & set(self.erased_tables()):
            raise ValueError(f"rows erased and columns named: {', '.join(sorted(torn))}")

    def erased_tables(self) -> list[str]:
        """Tables whose rows are deleted."""
        return [table for entry in self.erased for table in entry.tables]

    def columns(self) -> list[tuple[str, str]]:
        """Every column that is named, as (table, column)."""
        entries: tuple[Columns, ...] = (*self.emptied, *self.replaced, *self.retained, *self.elsewhere)
        return [(entry.table, column) for entry in entries for column in entry.columns]

    def why(self, entry: Retained) -> str:
        """The entry's legal grounds, in words."""
        return "; ".join(self.grounds[ground] for ground in entry.grounds)


@functools.cache
def load() -> Places:
    """The places of this version of the product."""
    return msgspec.convert(tomllib.loads(resources.files(__package__).joinpath("places.toml").read_text()), Places)
