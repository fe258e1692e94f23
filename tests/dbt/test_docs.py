"""dbt's own documentation, made by the command that docs/analytics.md names, over tables that were built."""

from __future__ import annotations

import msgspec
import pytest

from tests.dbt.conftest import Marts

pytestmark = pytest.mark.timeout(900)  # the first test of a run waits for all nights


def test_the_documentation_is_made_and_knows_every_column_of_every_mart(marts: Marts) -> None:
    marts.dbt("docs", "generate", "--static")
    catalog = msgspec.json.decode((marts.dbt.target / "catalog.json").read_bytes())
    assert not catalog["errors"]
    in_database = {
        row["name"]: row["columns"]
        for row in marts.rows(
            "select table_name::text as name, array_agg(column_name::text order by column_name::text) as columns"
            " from information_schema.columns where table_schema = 'analytics' group by table_name"
        )
    }
    documented = {
        key.split(".")[-1]: node for key, node in catalog["nodes"].items() if node["metadata"]["schema"] == "analytics"
    }
    assert len(in_database) > 20
    assert {name: sorted(node["columns"]) for name, node in documented.items()} == in_database
    # Comments are the descriptions, so that \\d+ in psql says the same.
    for name, node in documented.items():
        assert node["metadata"]["comment"].startswith(("One row", "Across organisations")), name
        assert all(column["comment"] for column in node["columns"].values()), name
    page = (marts.dbt.target / "static_index.html").read_text()
    assert "organisation_dashboard" in page and "One row an organisation" in page
