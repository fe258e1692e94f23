"""Whatever can be told to an operator has its place in the runbook, and whatever recurs is in the table of jobs."""

from __future__ import annotations

import re

import dagster as dg
import pytest

from orchestration import runbook
from orchestration.defs.alerts import UP_TO_DATE
from orchestration.settings import PROJECT_DIR

OPERATIONS = (PROJECT_DIR / "docs" / "operations.md").read_text()
ORCHESTRATION = (PROJECT_DIR / "docs" / "orchestration.md").read_text()


def entries() -> dict[str, str]:
    """What the runbook says, by the name of what is told; one heading may have several names."""
    found = {}
    for part in OPERATIONS.split("\n### ")[1:]:
        heading, _, text = part.partition("\n")
        text = text.partition("\n## ")[0].strip()
        found.update(dict.fromkeys(heading.split(", "), text))
    return found


def test_every_check_has_an_entry_that_says_something(definitions: dg.Definitions) -> None:
    told = {key.name for key in definitions.get_repository_def().asset_graph.asset_check_keys}
    assert len(told) > 90
    anchors = {runbook.anchor(name) for name in told} | {UP_TO_DATE.replace("_", "-"), "a-job-failed"}
    assert anchors - set(entries()) == set()
    assert {name: text for name, text in entries().items() if len(text) < 20} == {}


def test_no_entry_is_about_what_is_no_more(definitions: dg.Definitions) -> None:
    told = {key.name for key in definitions.get_repository_def().asset_graph.asset_check_keys}
    anchors = {runbook.anchor(name) for name in told} | {UP_TO_DATE.replace("_", "-"), "a-job-failed"}
    assert set(entries()) - anchors == set()


def test_what_the_runbook_refers_to_is_in_it() -> None:
    jobs = set(re.findall(r"job `(\w+)`", ORCHESTRATION))
    named = set(re.findall(r"\*([a-z][a-z_-]+)\*", OPERATIONS.partition("## Runbook")[2]))
    assert len(named) > 8
    assert named - set(entries()) - jobs - {"younger", "waiting"} == set()


def test_jobs_schedules_and_sensors_are_in_the_table(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    names = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    names |= {schedule.name for schedule in repository.schedule_defs} | {one.name for one in repository.sensor_defs}
    assert {name for name in names if f"`{name}`" not in ORCHESTRATION} == set()


def test_dbt_tests_of_one_kind_share_an_entry() -> None:
    assert runbook.anchor("grain_dim_dates_date_day") == "grain"
    assert runbook.anchor("refers_to_fct_reps_ref_dim_exercises_") == "refers-to"
    assert runbook.anchor("no_session_failed") == "no-session-failed"


def test_a_check_links_to_its_entry_where_the_page_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTARTIX_RUNBOOK_URL", raising=False)
    assert runbook.link("no_session_failed") == {}
    monkeypatch.setenv("RESTARTIX_RUNBOOK_URL", "https://wiki/operations")
    assert runbook.link("no_session_failed") == {
        "runbook": dg.MetadataValue.url("https://wiki/operations#no-session-failed")
    }


def test_whoever_answers_a_check_of_ours_links_to_its_entry() -> None:
    """Every module that makes results of checks, dbt's own aside, says where to read on."""
    for path in sorted((PROJECT_DIR / "orchestration" / "defs").glob("*.py")):
        text = path.read_text()
        results = len(re.findall(r"AssetCheck(?:Result|Evaluation)\(", text))
        assert text.count("runbook.link(") >= results, path.name
