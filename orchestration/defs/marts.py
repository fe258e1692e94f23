"""The marts: every dbt model as an asset, every dbt test as an asset check, refreshed nightly.

Belongs here: how dbt is shown and when it runs. Does not belong here: SQL (dbt_project), the manifest's making
(`dbt_manifest.py`). Metadata is counts and times only; Dagster has no login.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from orchestration import plots, runbook
from orchestration.resources import AnalyticsDbt

NIGHTLY_CRON = "15 2 * * *"  # after the day's last sittings in Europe, before the clinics open
FRESHNESS_CRON = "0 6 * * *"  # in time for whoever looks first in the morning
STAGING_SCHEMA = "analytics_staging"
SITTINGS = dg.AssetKey(["analytics", "fct_treatment_sessions"])
BUILT_NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=50), warn_window=dt.timedelta(hours=26))


class Translator(DagsterDbtTranslator):
    """Names and groups: an asset is `schema/table`, its group is its layer."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """staging, intermediate or marts; for a source its schema."""
        if dbt_resource_props["resource_type"] == "source":
            return f"source_{dbt_resource_props['source_name']}"
        return str(dbt_resource_props["fqn"][1])

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:  # noqa: ANN401
        """What dbt says of a model, and how fresh it has to be."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        node = self.get_resource_props(manifest, unique_id)
        kinds, tags = {"dbt", "postgres"}, {"restartix/room": "analytics"}
        if node["resource_type"] == "source":
            return spec.replace_attributes(
                kinds={"postgres"}, tags={"restartix/room": "sources"}, owners=["team:product"]
            )
        is_table = node["config"].get("materialized") != "view"
        return spec.replace_attributes(
            kinds=kinds,
            tags={**spec.tags, **tags, "restartix/materialized": str(node["config"].get("materialized"))},
            freshness_policy=BUILT_NIGHTLY if is_table else None,
        )

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The grain, as dbt describes it; the SQL is in the repository."""
        said = str(dbt_resource_props.get("description", "")).strip()
        if dbt_resource_props["resource_type"] == "source" and not said:
            said = str(dbt_resource_props.get("source_description", "")).strip()
        return said

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        return None if dbt_resource_props["resource_type"] == "source" else ["team:analytics"]


def definitions(manifest: Path) -> dg.Definitions:
    """The dbt assets of a parsed manifest, their source checks, and the job and schedule that refresh them."""

    @dbt_assets(manifest=manifest, dagster_dbt_translator=Translator(), name="dbt_build")
    def marts(context: dg.AssetExecutionContext, dbt: AnalyticsDbt):  # type: ignore[no-untyped-def]  # noqa: ANN202
        # Unit tests prove the code, not the night's data: they run with the test suite.
        run = dbt.build(["build", "--exclude-resource-type", "unit_test"], context)
        for event in run.stream():
            if isinstance(event, dg.Output):
                _tell_rows(context, dbt, event.output_name)
                if context.asset_key_for_output(event.output_name) == SITTINGS:
                    context.add_output_metadata(_sittings_picture(dbt.sittings_by_week()), event.output_name)
            yield event

    sources = _sources_with_freshness(manifest)
    parsed = msgspec.json.decode(manifest.read_bytes())

    @dg.multi_asset_check(
        name="arrivals",
        specs=[
            dg.AssetCheckSpec("fresh", asset=key, description="Something was written within the last days.")
            for key in sources.values()
        ],
    )
    def arrivals(context: dg.AssetCheckExecutionContext, dbt: AnalyticsDbt) -> Iterator[dg.AssetCheckResult]:
        results = dbt.ask(["source", "freshness"], context.run.run_id).get_artifact("sources.json")["results"]
        for result in results:
            yield _freshness_result(sources[result["unique_id"]], result)

    nightly = dg.define_asset_job(
        "nightly_marts",
        selection=dg.AssetSelection.assets(marts),
        executor_def=dg.in_process_executor,
        description="Rebuild the marts and test them.",
        # A run whose process died is begun again; a test that failed is not made to pass by asking twice.
        tags={"restartix/room": "analytics", "restartix/weight": "heavy", "dagster/max_retries": "1"},
    )
    freshness = dg.define_asset_job(
        "source_freshness",
        selection=dg.AssetSelection.checks(arrivals),
        executor_def=dg.in_process_executor,
        description="Whether sittings and results still arrive.",
        tags={"restartix/room": "analytics"},
    )
    schedules = [
        dg.ScheduleDefinition(
            name=job.name,
            job=job,
            cron_schedule=cron,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"{job.description} Each night." if job is nightly else job.description,
        )
        for job, cron in ((nightly, NIGHTLY_CRON), (freshness, FRESHNESS_CRON))
    ]
    ends = [*_source_specs(parsed), *_exposure_specs(parsed)]
    return dg.Definitions(
        assets=[marts, *ends], asset_checks=[arrivals], jobs=[nightly, freshness], schedules=schedules
    )


def _source_specs(manifest: Mapping[str, Any]) -> list[dg.AssetSpec]:
    """The tables the marts are made of, where the lineage begins. Nothing here makes them."""
    translator = Translator()
    return [translator.get_asset_spec(manifest, unique_id, None) for unique_id in manifest["sources"]]


def _exposure_specs(manifest: Mapping[str, Any]) -> list[dg.AssetSpec]:
    """Who reads the marts, where the lineage ends: dbt's exposures."""
    translator = Translator()
    specs = []
    for exposure in manifest["exposures"].values():
        models = [one for one in exposure["depends_on"]["nodes"] if one.startswith(("model.", "seed.", "snapshot."))]
        specs.append(
            dg.AssetSpec(
                key=["exposure", exposure["name"]],
                deps=[translator.get_asset_spec(manifest, unique_id, None).key for unique_id in models],
                description=exposure.get("description", "").strip(),
                group_name="exposures",
                owners=[exposure["owner"]["email"]] if exposure["owner"].get("email") else ["team:analytics"],
                tags={"restartix/room": "exposures", "restartix/maturity": exposure.get("maturity") or "unknown"},
                kinds={str(exposure["type"])},
            )
        )
    return specs


def _tell_rows(context: dg.AssetExecutionContext, dbt: AnalyticsDbt, output_name: str) -> None:
    """How many rows a table has now. Views are left out: counting one would run it."""
    schema, table = context.asset_key_for_output(output_name).path
    if schema != STAGING_SCHEMA:
        context.add_output_metadata({"dagster/row_count": dbt.row_count(schema, table)}, output_name)


def _sittings_picture(weeks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether patients come, and whether they finish: a dip is seen before anybody asks."""
    parts = {name: [float(week[name]) for week in weeks] for name in ("completed", "skipped", "unfinished")}
    picture = plots.stacked("Sittings a week", "sittings", [str(week["week"]) for week in weeks], parts)
    return {"sittings_a_week": dg.MetadataValue.md(picture)} if picture else {}


def _sources_with_freshness(manifest: Path) -> dict[str, dg.AssetKey]:
    """dbt's source ids to asset keys, for the sources that say how fresh they ought to be."""
    nodes = msgspec.json.decode(manifest.read_bytes())["sources"]
    return {
        unique_id: Translator().get_asset_key(node)
        for unique_id, node in nodes.items()
        if any((node.get("freshness") or {}).get(limit, {}).get("count") for limit in ("warn_after", "error_after"))
    }


def _freshness_result(key: dg.AssetKey, result: Mapping[str, Any]) -> dg.AssetCheckResult:
    """A warning where dbt warns, or where nothing was found at all, as before a clinic begins; else an error."""
    metadata: dict[str, Any] = {"status": result["status"]}
    written = str(result.get("max_loaded_at") or "")
    found = written and not written.startswith("0001")  # what dbt says of no row
    if found:
        metadata["last_written_at"] = written
        metadata["age_hours"] = round(result["max_loaded_at_time_ago_in_s"] / 3600, 2)
    is_warning = result["status"] == "warn" or (result["status"] == "error" and not found)
    return dg.AssetCheckResult(
        asset_key=key,
        check_name="fresh",
        passed=result["status"] == "pass",
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        metadata={**metadata, **runbook.link("fresh")},
    )
