"""Alert rules and dashboard: every metric, label and code they name is exported; every alert has its runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core_api.problems import REFUSALS as CORE_API_REFUSALS
from ingest_service.problems import REFUSALS as INGEST_REFUSALS
from ingest_service.settings import Settings
from orchestration.settings import Watch
from tests.production import queries
from tests.production.exported import Series, exported

REPOSITORY = Path(__file__).parents[2]
MONITORING = REPOSITORY / "infra" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboards" / "telemetry.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
CODES = {
    "ingest_rejected_total": set(INGEST_REFUSALS),
    "core_api_refusals_total": set(CORE_API_REFUSALS),
    "ingest_accepted_total": {"batch", "duplicate", "media", "end"},
    "subscriber_results_total": {"applied", "not_newer", "failed", "dead"},
    "restartix_safety_copy_aborted_total": {"not_beginning", "consent", "settled", "stray", "expired"},
}
PANEL_QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
ALERT_QUERIES = [pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES]


@pytest.fixture(scope="module")
def known() -> dict[str, Series]:
    with pytest.MonkeyPatch.context() as alone:
        alone.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
        return exported()


@pytest.mark.parametrize("query", [*ALERT_QUERIES, *PANEL_QUERIES])
def test_a_query_asks_for_what_is_exported(query: str, known: dict[str, Series]) -> None:
    assert queries.faults(query, known) == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("rate(ingest_acepted_total[5m])", "nobody exports ingest_acepted_total"),
        ('rate(ingest_accepted_total{code="busy"}[5m])', "ingest_accepted_total has no label code"),
        ("rate(ingest_open_sessions[5m])", "rate of ingest_open_sessions, a gauge"),
        ("sum(ingest_accepted_total) > 1", "ingest_accepted_total only ever grows; take its rate"),
        ("sum by (code) (rate(ingest_accepted_total[5m]))", "no label code in"),
        ("sum by (code (up)", "no PromQL"),
    ],
)
def test_a_wrong_query_is_found(query: str, fault: str, known: dict[str, Series]) -> None:
    found = queries.faults(query, known)
    assert len(found) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize("query", [*ALERT_QUERIES, *PANEL_QUERIES])
def test_a_code_that_is_named_is_one_that_is_refused_with(query: str) -> None:
    for use in queries.uses(query):
        for label, pattern in use.matchers:
            if label in {"code", "outcome", "reason", "kind"}:
                assert set(pattern.split("|")) <= CODES[use.name], use.name


def test_every_refusal_of_our_own_making_counts_as_one() -> None:
    """What ingest answers with 503, and may be tried again, is ours: all of it calls somebody."""
    [rule] = [rule for rule in RULES if rule["alert"] == "IngestRefusesForItsOwnReasons"]
    [named] = {value for use in queries.uses(rule["expr"]) for label, value in use.matchers if label == "code"}
    assert set(named.split("|")) == {code for code, refusal in INGEST_REFUSALS.items() if refusal.retry} - {
        "rate_exceeded"
    }


def test_everything_exported_is_on_the_dashboard(known: dict[str, Series]) -> None:
    shown = {use.name for panel in PANELS for target in panel["targets"] for use in queries.uses(target["expr"])}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    missing = {name for name in known if re.sub(r"_(bucket|count|sum)$", "", name) not in families}
    assert {name for name in missing if not name.endswith("_created")} - {"up"} == set()


def test_a_threshold_over_a_quantile_is_a_bound_of_the_histogram(known: dict[str, Series]) -> None:
    """Between two bounds a quantile is a guess, and an alert on it fires or not by the guess."""
    compared = [(names, value) for rule in RULES for names, value in queries.thresholds(rule["expr"])]
    assert len(compared) == 4
    for names, value in compared:
        [name] = names
        assert value in known[name].bounds, (name, value)


def test_thresholds_are_the_defaults_of_the_code() -> None:
    by_name = {rule["alert"]: rule["expr"] for rule in RULES}
    required = ("DATABASE_URL", "DATA_DIR", "NODE_ID", "INGEST_URL", "JWKS")
    ingest, watch = Settings.from_env({f"RESTARTIX_{name}": "x" for name in required}), Watch()
    halves = [int(number) for number in re.findall(r"> (\d+) \*", by_name["IngestQueueHalfFull"])]
    assert [2 * half for half in halves] == [
        ingest.requests_max,
        ingest.disk.waiting_max_bytes,
        ingest.open_sessions_max,
    ]
    assert by_name["IngestConsentUnknown"].startswith(f"ingest_consent_age_seconds > {ingest.consent_max_age_s:g} or")
    assert by_name["IngestDiskFull"] == f"ingest_disk_free_bytes < {ingest.disk.free_min_bytes}"
    assert f"< {watch.disk_free_min_bytes} or" in by_name["IngestDiskFilling"]
    assert by_name["IngestDiskFilling"].endswith(f"< {ingest.disk.free_min_bytes}")
    assert by_name["IngestSpoolLarge"] == f"ingest_spool_bytes > {watch.spool_max_bytes}"


def test_every_alert_has_its_runbook() -> None:
    page = (REPOSITORY / "docs" / "production.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n#|\Z)", page, re.MULTILINE | re.DOTALL))
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/production.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert len(sections[rule["alert"]]) > 60, rule["alert"]
    assert set(sections) == {rule["alert"] for rule in RULES}


def test_panels_do_not_overlap_and_say_what_they_are() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y)
            for x in range(place["w"])
            for y in range(place["h"])
            if place["x"] + x < 24
        }
        assert len(cells) == place["w"] * place["h"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


def test_each_alert_fires_on_the_series_it_is_for() -> None:
    """Prometheus' own unit tests of its rules, where its tool is installed."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [tool, "test", "rules", "alerts.test.yaml"], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
