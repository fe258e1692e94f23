"""The threat model names tests that are there, and answers every attack by one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_named_test_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    named = set(NAMED.findall(text))
    assert len(named) > 25
    gone = []
    for path, name in sorted(named):
        file = ROOT / path
        tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if name not in functions:
            gone.append(f"{path}::{name}")
    assert gone == []


def test_every_attack_has_an_answer_and_a_test() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.partition("| attack | answer | test |")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    for attack, answer, test in rows:
        assert attack.strip()
        assert answer.strip(), attack
        assert NAMED.search(test), attack
