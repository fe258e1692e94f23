"""A contract type for import-linter: a package imports from an allow-list and nothing else.

import-linter's own `forbidden` names what may not be imported, so a new dependency slips through until somebody thinks
of it; what has to stay pure needs the opposite. Only direct imports count: what an allowed module imports is its own
affair.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """`source_modules` (with all below them) import themselves, the standard library and `allowed_modules`."""

    type_name = "only"

    source_modules = fields.SetField(subfield=fields.StringField())
    allowed_modules = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's signature
        """Every import of a source module that stays outside the allow-list, with its line numbers."""
        sources = {str(name) for name in cast(Iterable[object], self.source_modules)}
        allowed = {str(name) for name in cast(Iterable[object], self.allowed_modules)}
        unknown = sorted(sources - graph.modules)
        if unknown:
            raise ValueError(f"no such module: {', '.join(unknown)}")
        broken: list[tuple[str, str, list[int]]] = []
        for source in sorted(sources):
            for importer in sorted({source} | graph.find_descendants(source)):
                for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                    if _within(imported, {source} | allowed) or imported.partition(".")[0] in sys.stdlib_module_names:
                        continue
                    details = graph.get_import_details(importer=importer, imported=imported)
                    broken.append((importer, imported, [detail["line_number"] for detail in details]))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported, lines in check.metadata["broken"]:
            where = ", ".join(f"l.{line}" for line in lines)
            output.print_error(f"{importer} imports {imported} ({where}), which is not on its list")


def _within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
