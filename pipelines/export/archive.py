"""Writing an export: one part after the other into a work folder, then all of them into one archive.

Belongs here: formats, resuming, the archive. Does not belong here: what is exported (its caller says), FHIR (``fhir``).

A part is written under another name and renamed when it is whole, so a run that was broken off goes on with the parts
that are not there. The same rows make the same bytes: an archive's hash tells whether anything changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

Row = Mapping[str, Any]
_MODE = 0o600
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can say
README = """\
What is held about you, as of {at}.

  json/     each kind of record, as it is stored
  csv/      the same, for a spreadsheet
  parquet/  the same, for analysis
  fhir/     consents, plans, observations and answers as HL7 FHIR R4
  manifest.json   every file with its SHA-256

An empty field means that it is not known. Times are UTC (ISO 8601).
"""


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A database value as JSON has it."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    for kinds, write in _PLAIN:
        if isinstance(value, kinds):
            return write(value)
    return value


# In this order: a datetime is a date too.
_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Decimal, float),
    (dt.datetime, lambda value: value.astimezone(dt.UTC).isoformat()),
    (dt.date, dt.date.isoformat),
    (UUID, str),
    ((bytes, memoryview), lambda value: bytes(value).hex()),
)


class Folder:
    """The work folder of one export. Mode 0700: what is in it is a patient's."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path

    def has(self, name: str) -> bool:
        return (self._path / name).exists()

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all. Raises ``OSError``."""
        target = self._path / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)

    def write_json(self, name: str, value: object) -> None:
        self.write(name, (json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n").encode())

    def write_table(self, name: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """One kind of record, as JSON, CSV and Parquet; JSON last: it says that the part is whole."""
        flat = [{column: _flat(row[column]) for column in columns} for row in rows]
        frame = pl.DataFrame(flat, schema=list(columns), orient="row", infer_schema_length=None, strict=False)
        for folder, write in (("csv", frame.write_csv), ("parquet", frame.write_parquet)):
            path = self._path / folder / f".{name}.{folder}"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(_MODE)
            write(path)
            path.replace(path.with_name(f"{name}.{folder}"))
        self.write_json(f"json/{name}.json", list(rows))

    def files(self) -> list[Path]:
        """Every whole file, relative, in the order of the archive."""
        found = [path.relative_to(self._path) for path in self._path.rglob("*") if path.is_file()]
        return sorted(path for path in found if not path.name.startswith("."))

    def pack(self, archive: Path, told: Callable[[int, int], None]) -> tuple[str, int]:
        """Everything with its manifest into one archive; its SHA-256 as hex, and its bytes. Replaces what is there."""
        files = [path for path in self.files() if path.name != "manifest.json"]
        sums = {path.as_posix(): hashlib.sha256((self._path / path).read_bytes()).hexdigest() for path in files}
        self.write_json("manifest.json", {"files": sums})
        draft = archive.with_name(f".{archive.name}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, _MODE)
        with os.fdopen(descriptor, "w+b") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as packed:
                for number, path in enumerate(self.files(), start=1):
                    entry = zipfile.ZipInfo(path.as_posix(), _EPOCH)
                    entry.external_attr = _MODE << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    packed.writestr(entry, (self._path / path).read_bytes())
                    told(number, len(files) + 1)
            raw.flush()
            os.fsync(raw.fileno())
        content = draft.read_bytes()
        draft.replace(archive)
        return hashlib.sha256(content).hexdigest(), len(content)

    def remove(self) -> None:
        """The folder and all in it. No error if it is not there."""
        for path in sorted(self._path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self._path.rmdir()


def _flat(value: object) -> object:
    """A value as a table's cell: what has an inside is JSON text."""
    made = plain(value)
    return json.dumps(made, sort_keys=True, ensure_ascii=False) if isinstance(made, dict | list) else made
