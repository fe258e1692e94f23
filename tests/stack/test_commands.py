"""What a person types: the Makefile explains itself, and `restartix` reaches every command."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import click
import grimp
import pytest
from click.testing import CliRunner

from infra import cli
from infra.import_contracts import OnlyContract
from infra.stack.state import PROJECT_DIR

EXPECTED_TARGETS = {
    *("demo", "test", "setup", "up", "down", "status", "logs", "psql"),
    *("play", "simulate", "eval", "fit-references", "choose-counting", "plots", "prove", "bench"),
    *("lint", "audit", "lock", "clean", "help"),
}


def test_make_alone_prints_every_target_with_its_help() -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "-C", str(PROJECT_DIR)], capture_output=True, text=True, check=True)
    printed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (PROJECT_DIR / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(printed) == set(phony.group(1).split()) == EXPECTED_TARGETS
    assert max(map(len, done.stdout.splitlines())) <= 130


def test_help_names_every_command_without_importing_any(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"help imported {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0, result.output
    listed = re.findall(r"^  ([\w-]+)  ", result.output.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_is_there_and_explains_itself(name: str, tmp_path: Path) -> None:
    module_name, attribute = cli.COMMANDS[name][0].split(":")
    command = getattr(importlib.import_module(module_name), attribute)
    assert isinstance(command, click.Command)
    result = CliRunner(env={"RESTARTIX_STATE": str(tmp_path)}).invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert command.help, f"`restartix {name} --help` has nothing to say"


def test_a_broken_room_leaves_the_other_commands_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "demo", ("infra.no_such_room:demo", "Broken."))
    assert isinstance(CliRunner().invoke(cli.main, ["demo"]).exception, ModuleNotFoundError)
    assert CliRunner().invoke(cli.main, ["up", "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("imported", "kept"),
    [
        ("numpy", True),
        ("datetime", True),
        ("pipelines.pose.model", True),
        ("psycopg", False),
        ("pipelines.landing", False),
    ],
)
def test_a_pure_package_imports_from_its_list_only(imported: str, kept: bool) -> None:
    graph = grimp.ImportGraph()
    for module in ("pipelines.pose", "pipelines.pose.model", "pipelines.pose.wire", "pipelines.landing"):
        graph.add_module(module)
    for module in ("numpy", "datetime", "psycopg"):
        graph.add_module(module, is_squashed=True)
    graph.add_import(importer="pipelines.pose.wire", imported=imported, line_number=3, line_contents="import it")
    contract = OnlyContract(
        name="pure",
        session_options={},
        contract_options={"source_modules": "pipelines.pose", "allowed_modules": "numpy"},
    )
    check = contract.check(graph, verbose=False)
    assert check.kept is kept
    assert check.metadata["broken"] == ([] if kept else [("pipelines.pose.wire", imported, [3])])
