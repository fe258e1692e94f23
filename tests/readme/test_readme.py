"""Every command in the README is run, in the README's order, as a reader would type it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack.state import PROJECT_DIR

README = (PROJECT_DIR / "README.md").read_text()
COMMANDS = re.findall(r"^(make [^#\n]+?)\s*(?:#.*)?$", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S)), re.M)
RECORDINGS = "../shared/pose-data"
SCREEN_LINES = 50


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A stack of the test's own, stopped afterwards whatever happened."""
    variables = {**os.environ, "RESTARTIX_STATE": str(tmp_path_factory.mktemp("state"))}
    variables.pop("MAKEFLAGS", None)  # the README's reader is not inside `make test`
    yield variables
    subprocess.run(["make", "down"], cwd=PROJECT_DIR, env=variables, check=False, capture_output=True)


def run(command: str, environ: dict[str, str], *, stdin: str = "") -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT_DIR,
        env=environ,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, f"{command} -> {done.returncode}\n{done.stdout[-6000:]}"
    return done.stdout


def recordings() -> Path:
    """Where the recordings are: POSE_DATA, or where the README has them."""
    return Path(os.environ.get("POSE_DATA") or PROJECT_DIR / RECORDINGS)


def as_a_reader(command: str, environ: dict[str, str]) -> str:
    """Run it, with what a reader would type into it or see of it."""
    if command.startswith("make psql"):
        output = run(command, environ, stdin="select count(*) as weeks from analytics.plan_weekly_adherence;\n")
        assert re.search(r"weeks\s*\n-+\n +[1-9]", output), output
        return output
    return run(command.replace(RECORDINGS, str(recordings())), environ)


def test_the_readme_fits_one_screen_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= SCREEN_LINES
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    assert [target for target in targets if not (PROJECT_DIR / target).exists()] == []


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in COMMANDS
    assert re.search(r"^make test$", (PROJECT_DIR / ".ci" / "run").read_text(), re.M)


@pytest.mark.timeout(1800)
def test_every_command_of_the_readme(environ: dict[str, str]) -> None:
    (PROJECT_DIR / "build" / "reports" / "demo.json").unlink(missing_ok=True)
    ran = []
    for command in COMMANDS:
        if command == "make test":
            continue  # it is what runs this test
        if RECORDINGS in command and not recordings().is_dir():
            print(f"not run, because there are no recordings at {recordings()}: {command}")
            continue
        output = as_a_reader(command, environ)
        if command == "make demo":
            report = json.loads((PROJECT_DIR / "build" / "reports" / "demo.json").read_text())
            assert report["ok"], report
            assert report["batches"]["acknowledged"] == (
                report["batches"]["in_blobs"]
                + report["batches"]["duplicates"]
                + report["batches"]["dropped_for_consent"]
            )
            assert "Jane Doe" in output
        if command.startswith("make play"):
            assert "10 repetitions, 10 labelled" in output
        ran.append(command.split()[1])
    assert {"demo", "up", "simulate", "psql", "down"} <= set(ran)
