"""How long each job and each sensor takes in this process, for the benchmark of start-up and latencies.

Belongs here: timing them. Does not belong here: the report (`infra.bench.orchestration`).
"""

from __future__ import annotations

import time

import dagster as dg

SENSORS = ("silent_sessions", "standstill", "failed_checks")
SLOW = {"nightly_marts", "source_freshness"}  # they start dbt: once is enough
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def measure(
    definitions: dg.Definitions, instance: dg.DagsterInstance, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of wall time, a list of rounds by name, of "job" (every one) and "sensor" (those that work).

    Raises RuntimeError where a job fails.
    """
    repository = definitions.get_repository_def()
    names = sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__"))
    jobs: dict[str, list[float]] = {name: [] for name in sorted(names, key=lambda name: name in SLOW)}
    sensors: dict[str, list[float]] = {name: [] for name in SENSORS}
    for name, taken in jobs.items():
        for _ in range(1 if name in SLOW else rounds):
            began = time.perf_counter()
            job = definitions.resolve_job_def(name)
            if not job.execute_in_process(instance=instance, run_config=_QUIET, raise_on_error=False).success:
                raise RuntimeError(f"the job {name} failed")
            taken.append(time.perf_counter() - began)
    for name, taken in sensors.items():
        for _ in range(rounds):
            resources = repository.get_top_level_resources()
            began = time.perf_counter()
            with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
                repository.get_sensor_def(name).evaluate_tick(context)
            taken.append(time.perf_counter() - began)
    return {"job": jobs, "sensor": sensors}
