"""Reading PromQL as Prometheus does, and holding it to what is exported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql

from tests.production.exported import TARGET_LABELS, Series

COUNTING = {"rate", "increase"}  # of a counter or a histogram's counts; on a gauge they mean nothing


@dataclass(frozen=True)
class Use:
    """One selector of a query, and the function around it, if any."""

    name: str
    matchers: tuple[tuple[str, str], ...]  # label, value or pattern
    function: str | None


def parse(query: str) -> promql.Expr:
    """Grafana's variables stand for what it would put there. Raises ``ValueError`` where it is no PromQL."""
    return promql.parse(query.replace("$__rate_interval", "5m").replace("$node", ".*"))


def uses(query: str) -> list[Use]:
    return [use for each in _walk(parse(query), None) for use in ([each] if isinstance(each, Use) else [])]


def grouped_by(query: str) -> set[str]:
    """Every label an aggregation or a matching names."""
    return set(
        re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on|ignoring|without|group_left)\s*\(([^)]*)\)", query)))
    )


def thresholds(query: str) -> Iterator[tuple[set[str], float]]:
    """Each comparison of a quantile with a number: the names it is over, and the number."""
    for expression in _walk(parse(query), None):
        if isinstance(expression, promql.BinaryExpr) and isinstance(expression.rhs, promql.NumberLiteral):
            inside = list(_walk(expression.lhs, None))
            if any(isinstance(each, promql.Call) and each.func.name == "histogram_quantile" for each in inside):
                yield {each.name for each in inside if isinstance(each, Use)}, expression.rhs.val


def faults(query: str, known: dict[str, Series]) -> list[str]:
    """What of ``query`` cannot be answered by what is exported, a line each."""
    try:
        found = uses(query)
    except ValueError as error:
        return [f"no PromQL: {error}"]
    lines = [f"nobody exports {use.name}" for use in found if use.name not in known]
    if lines:
        return lines
    for use in found:
        series = known[use.name]
        for label, _ in use.matchers:
            if label not in series.labels | TARGET_LABELS:
                lines.append(f"{use.name} has no label {label}")
        cumulative = series.kind == "counter" or use.name.endswith(("_bucket", "_count", "_sum"))
        if use.function in COUNTING and not cumulative:
            lines.append(f"{use.function} of {use.name}, a {series.kind}")
        if cumulative and use.function not in COUNTING:
            lines.append(f"{use.name} only ever grows; take its rate")
    there = set().union(TARGET_LABELS, *(known[use.name].labels for use in found))
    lines += [f"no label {label} in {query}" for label in sorted(grouped_by(query) - there)]
    return lines


def _walk(expression: object, function: str | None) -> Iterator[object]:
    if isinstance(expression, promql.VectorSelector):
        matchers = tuple((each.name, each.value) for each in expression.matchers.matchers)
        yield Use(str(expression.name), matchers, function)
        return
    yield expression
    if isinstance(expression, promql.MatrixSelector):
        yield from _walk(expression.vector_selector, function)
    elif isinstance(expression, promql.Call):
        for argument in expression.args:
            yield from _walk(argument, expression.func.name)
    elif isinstance(expression, promql.BinaryExpr):
        yield from _walk(expression.lhs, function)
        yield from _walk(expression.rhs, function)
    elif isinstance(expression, promql.AggregateExpr | promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        yield from _walk(expression.expr, function)
    else:
        assert isinstance(expression, promql.NumberLiteral | promql.StringLiteral), type(expression)
