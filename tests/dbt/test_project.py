"""Rules over the project's manifest, after dbt's project evaluator: structure, documentation, tests, access, lineage.

Nothing is built: the manifest says what the models are, where they come from, and who reads them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.stack.state import PROJECT_DIR
from orchestration.dbt_manifest import ensure_manifest
from orchestration.settings import DBT_PROJECT_DIR

pytestmark = pytest.mark.timeout(300)  # parsing takes seconds, on a busy machine many

LAYERS = ("staging", "intermediate", "marts")
CLASSIFIED = re.compile(r"(public|internal|personal|clinical|biometric): \S")
# A patient by key, and what names a plan of hers: the only personal columns a mart has.
PERSONAL_KEYS = {"patient_id", "patient_treatment_plan_id"}
# Models that only hand on rows: nothing is calculated that a unit test could get wrong.
NOTHING_TO_CALCULATE = {"dim_dates", "media_engagement"}
# A generated calendar has no source.
ROOTS = {"dim_dates"}
# One bad time zone must not stop a build: the server's list is needed where a zone is first read.
STAGING_ON_STAGING = {("stg_core__patients", "stg_postgres__time_zones")}

Node = dict[str, Any]


class Project:
    """The manifest, by what the rules ask of it."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.nodes: dict[str, Node] = manifest["nodes"]
        self.sources: dict[str, Node] = manifest["sources"]
        self.exposures: dict[str, Node] = manifest["exposures"]
        self.unit_tests: dict[str, Node] = manifest["unit_tests"]
        self.semantic_models: dict[str, Node] = manifest["semantic_models"]
        self.metrics: dict[str, Node] = manifest["metrics"]
        self.groups: dict[str, Node] = manifest["groups"]
        self.models = {node["name"]: node for node in self.nodes.values() if node["resource_type"] == "model"}
        self.tests = [node for node in self.nodes.values() if node["resource_type"] == "test"]

    def layer(self, model: Node) -> str:
        return str(model["fqn"][1])

    def of(self, *layers: str) -> list[Node]:
        return [model for model in self.models.values() if self.layer(model) in layers]

    def parents(self, node: Node) -> list[Node]:
        return [self.nodes[key] for key in node["depends_on"]["nodes"] if key in self.nodes]

    def read_sources(self, node: Node) -> list[Node]:
        return [self.sources[key] for key in node["depends_on"]["nodes"] if key in self.sources]

    def tests_of(self, model: Node) -> list[Node]:
        return [test for test in self.tests if test.get("attached_node") == model["unique_id"]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    manifest = ensure_manifest(DBT_PROJECT_DIR, tmp_path_factory.mktemp("parsed"))
    return Project(msgspec.json.decode(manifest.read_bytes()))


def test_a_model_lies_in_its_layer_and_is_named_after_it(project: Project) -> None:
    assert {project.layer(model) for model in project.models.values()} == set(LAYERS)
    for model in project.models.values():
        folders = model["fqn"][1:-1]
        if folders[0] == "staging":
            assert model["name"].startswith(f"stg_{folders[1]}__"), model["name"]
        elif folders[0] == "intermediate":
            assert model["name"].startswith("int_"), model["name"]
        else:
            prefix = {"facts": "fct_", "dimensions": "dim_"}.get(folders[1], "")
            assert model["name"].startswith(prefix) and not model["name"].startswith(("stg_", "int_")), model["name"]
            assert prefix or not model["name"].startswith(("fct_", "dim_")), model["name"]


def test_staging_is_the_only_door_and_has_one_view_a_source_table(project: Project) -> None:
    for model in project.of("intermediate", "marts"):
        assert project.read_sources(model) == [], f"{model['name']} reads a source past staging"
    readers: dict[str, list[str]] = {key: [] for key in project.sources}
    for model in project.of("staging"):
        sources = project.read_sources(model)
        assert len(sources) == 1, f"{model['name']} reads {len(sources)} sources"
        assert model["name"] == f"stg_{sources[0]['source_name']}__{sources[0]['name']}" or model["name"] in (
            "stg_postgres__time_zones",
        )
        readers[sources[0]["unique_id"]].append(model["name"])
        for parent in project.parents(model):
            assert (model["name"], parent["name"]) in STAGING_ON_STAGING
    assert {key: names for key, names in readers.items() if len(names) != 1} == {}


def test_data_flows_one_way_and_nothing_hangs_in_the_air(project: Project) -> None:
    for model in project.models.values():
        parents = project.parents(model)
        if not parents and not project.read_sources(model):
            assert model["name"] in ROOTS, f"{model['name']} comes from nowhere"
        if project.layer(model) == "staging":
            assert all(project.layer(parent) == "staging" for parent in parents), model["name"]
        # An aggregate of facts may feed a mart; it may not read what is made to be shown.
        if project.layer(model) == "intermediate":
            shown = [parent["name"] for parent in parents if parent["fqn"][1:3] == ["marts", "clinic"]]
            assert shown == [], f"{model['name']} reads {shown}"
    used = {parent["name"] for model in project.models.values() for parent in project.parents(model)}
    tested = {parent["name"] for test in project.tests for parent in project.parents(test)}
    assert {model["name"] for model in project.of("staging", "intermediate")} - used - tested == set()


def test_no_model_names_a_table_past_dbt(project: Project) -> None:
    for model in project.models.values():
        code = re.sub(r"--[^\n]*|\{[{%#].*?[}%#]\}", "", model["raw_code"], flags=re.DOTALL)
        assert not re.search(r"\b(from|join)\s+(core|telemetry|bus|analytics\w*)\.", code), model["name"]


def test_every_description_says_the_grain_and_every_column_its_sensitivity(project: Project) -> None:
    columns = 0
    for model in project.models.values():
        assert model["description"].startswith(("One row", "Across organisations: one row")), model["name"]
        assert model["columns"], model["name"]
        for column in model["columns"].values():
            assert CLASSIFIED.match(column["description"]), f"{model['name']}.{column['name']}"
            columns += 1
    assert columns > 400


def test_a_meaning_that_is_shared_is_written_once() -> None:
    """A description that two models give a column of one name comes from its doc block."""
    given = re.compile(r"- \{name: (\w+),.*?description: (\"[^\"]*\")")
    seen: dict[tuple[str, str], str] = {}
    for path in sorted((DBT_PROJECT_DIR / "models").rglob("*.yml")):
        for name, description in given.findall(path.read_text()):
            if "doc(" in description:
                continue
            key = (name, description)
            assert key not in seen, f"{path.name} and {seen.get(key)} both describe {name}"
            seen[key] = path.name


def test_every_model_has_a_tested_key_and_every_mart_a_contract(project: Project) -> None:
    for model in project.of("staging"):
        if model["name"] != "stg_core__row_changes":  # a log has no key
            assert model["config"]["meta"]["primary_key"], model["name"]
    for model in project.of("intermediate", "marts"):
        kinds = {test["test_metadata"]["name"] for test in project.tests_of(model)}
        assert kinds & {"grain", "unique_combination"}, f"{model['name']} has no test of its key"
    for model in project.of("marts"):
        assert model["contract"]["enforced"], model["name"]
        assert all(column["data_type"] for column in model["columns"].values()), model["name"]
        keys = [each for each in model["constraints"] if each["type"] == "primary_key"]
        # Payments may name no service plan, so this one's key has a column that may be unknown.
        assert keys or model["name"] == "revenue_per_plan", model["name"]


def test_every_fact_and_dashboard_refers_to_what_exists(project: Project) -> None:
    for model in project.of("marts"):
        dimensions = {"exercise_id": "dim_exercises", "treatment_plan_id": "dim_treatment_plans"}
        own = model["name"].startswith("dim_") or model["name"] == "console_cohorts"
        needed = {name for name in dimensions if name in model["columns"]}
        if own or not needed:
            continue
        named: set[str] = set()
        for test in project.tests_of(model):
            if test["test_metadata"]["name"] == "refers_to":
                given = test["test_metadata"]["kwargs"]
                named |= set(given.get("arguments", given)["references"])
        # Through its plan a row has its treatment plan.
        assert needed <= named or "patient_treatment_plan_id" in named, f"{model['name']} lacks {needed - named}"


def test_every_calculation_has_a_unit_test(project: Project) -> None:
    """Every column that a model names itself, or has under a name no parent has, is expected by a unit test of it."""
    expected: dict[str, set[str]] = {}
    for unit_test in project.unit_tests.values():
        rows = unit_test["expect"]["rows"]
        assert rows, unit_test["name"]
        expected.setdefault(unit_test["model"], set()).update(*rows)
    models = project.of("intermediate", "marts")
    assert {model["name"] for model in models} - set(expected) == NOTHING_TO_CALCULATE
    lacking = {}
    for model in models:
        handed_on = {name for parent in project.parents(model) for name in parent["columns"]}
        calculated = {
            name
            for name in model["columns"]
            if name not in handed_on or re.search(rf"\bas {name}\b", model["raw_code"])
        }
        if left := calculated - expected.get(model["name"], set()) - {"as_of"}:
            lacking[model["name"]] = left
    assert {name: left for name, left in lacking.items() if name not in NOTHING_TO_CALCULATE} == {}


def test_layers_below_are_private_and_every_model_has_an_owner(project: Project) -> None:
    for model in project.models.values():
        assert model["group"] in ("analytics", "console"), model["name"]
        wanted = "public" if project.layer(model) == "marts" else "private"
        if model["name"] == "int_profile_quarters":
            wanted = "protected"
        assert model["access"] == wanted, model["name"]


def test_every_mart_is_read_by_somebody_who_is_named(project: Project) -> None:
    exposed = {project.nodes[key]["name"] for node in project.exposures.values() for key in node["depends_on"]["nodes"]}
    assert {model["name"] for model in project.of("marts")} == exposed
    assert all(node["owner"]["name"] and node["description"] for node in project.exposures.values())


def test_who_reads_reads_tables_that_keep_their_word(project: Project) -> None:
    """What is exposed, and what metrics stand on, is public, a table and under contract."""
    readers = [*project.exposures.values(), *project.semantic_models.values()]
    read = {parent["name"]: parent for node in readers for parent in project.parents(node)}
    assert len(read) > 20
    for model in read.values():
        assert model["access"] == "public" and model["contract"]["enforced"], model["name"]
        assert model["config"]["materialized"] in ("table", "incremental"), model["name"]


def test_no_view_stands_on_views_but_where_it_is_said_and_no_table_is_two_sources(project: Project) -> None:
    for model in project.models.values():
        if model["config"]["materialized"] == "view":
            below = [one["name"] for one in project.parents(model) if one["config"]["materialized"] == "view"]
            assert all((model["name"], name) in STAGING_ON_STAGING for name in below), model["name"]
    relations = [source["relation_name"] for source in project.sources.values()]
    assert len(relations) == len(set(relations))
    assert all(source["description"] or source["source_description"] for source in project.sources.values())


def test_what_the_core_api_reads_is_exposed_as_its_dashboards(project: Project) -> None:
    reading = re.compile(r"(?:from|join)\s+analytics\.(\w+)", re.IGNORECASE)
    folders = [PROJECT_DIR / "core_api" / "sql", PROJECT_DIR / "infra" / "demo" / "sql"]
    read = {name for folder in folders for path in folder.glob("*.sql") for name in reading.findall(path.read_text())}
    assert len(read) >= 5
    exposed = {
        project.nodes[key]["name"]
        for node in project.exposures.values()
        if node["type"] in ("dashboard", "application")
        for key in node["depends_on"]["nodes"]
    }
    assert read <= exposed


def test_sources_that_should_be_fresh_say_so(project: Project) -> None:
    fresh = {
        source["name"]
        for source in project.sources.values()
        if (source.get("freshness") or {}).get("warn_after", {}).get("count")
        and (source["loaded_at_field"] or source["loaded_at_query"])
    }
    assert fresh >= {
        "patient_session_completions",
        "patient_exercise_logs",
        "pose_session_metrics",
        "media_session_metrics",
    }


def test_no_personal_column_but_keys_reaches_a_mart(project: Project) -> None:
    """By the classification of every column, and by lineage: no model reads a column that is stored encrypted."""
    for model in project.of("marts"):
        personal = {name for name, column in model["columns"].items() if column["description"].startswith("personal:")}
        assert personal <= PERSONAL_KEYS, f"{model['name']}: {personal - PERSONAL_KEYS}"
    for model in project.models.values():
        assert not re.search(r"_encrypted|principal_id|full_name|contact", model["raw_code"]), model["name"]


def test_metrics_stand_on_facts_and_on_the_calendar(project: Project) -> None:
    assert len(project.semantic_models) >= 3 and len(project.metrics) >= 8
    for node in project.semantic_models.values():
        assert all(parent["access"] == "public" for parent in project.parents(node)), node["name"]
    assert project.models["dim_dates"]["time_spine"]["standard_granularity_column"] == "date_day"


def test_sql_of_unit_tests_and_models_is_where_people_look() -> None:
    """YAML beside the models: each folder of models describes its own."""
    for path in (DBT_PROJECT_DIR / "models").rglob("*.sql"):
        beside = "".join(yml.read_text() for yml in Path(path.parent).glob("*__models.yml"))
        assert f"- name: {path.stem}\n" in beside, path
