"""Holds the tables to their contract: closures on every build, columns as the dictionary says, comments."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import duckdb

import tokenmill_sql

DOCUMENTED_SCHEMAS: Final = ("billing", "fleet", "hourly", "marts", "measured", "ops", "reference")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row that a check found: the hour and provider whose figures do not close, and where."""

    check: str
    severity: Literal["fail", "warn"]
    hour_at: datetime
    provider: str
    detail: str

    def __str__(self) -> str:
        """Return the finding as one line for a person."""
        return f"{self.hour_at:%Y-%m-%dT%H} {self.provider}: {self.check.replace('_', ' ')}: {self.detail}"


def run_checks(connection: duckdb.DuckDBPyConnection) -> tuple[Finding, ...]:
    """Run every check over the batch that the price models left behind; return what offends, worst first.

    The temporary table `work_withheld` gets the hours and providers of those that fail.
    """
    findings = [finding for check in tokenmill_sql.checks() for finding in _offending(connection, check)]
    connection.execute(
        "create or replace temp table work_withheld "
        "(hour_at timestamp, provider varchar, check_name varchar, detail varchar)"
    )
    failed = [finding for finding in findings if finding.severity == "fail"]
    if failed:
        connection.executemany(
            "insert into work_withheld values ($1, $2, $3, $4)",
            [[finding.hour_at, finding.provider, finding.check, finding.detail] for finding in failed],
        )
    return tuple(sorted(findings, key=lambda finding: (finding.severity, finding.hour_at, finding.provider)))


def contract_problems(connection: duckdb.DuckDBPyConnection, relations: Sequence[str]) -> list[str]:
    """Return one sentence for each of `relations` that is missing or has a column the dictionary does not allow."""
    found: dict[str, dict[str, str]] = {name: {} for name in relations}
    for relation, column, column_type in _columns(connection):
        if relation in found:
            found[relation][column] = column_type
    problems = [f"{name} is missing" for name, columns in found.items() if not columns]
    for name, columns in found.items():
        problems.extend(
            f"{name}.{column}: {reason}"
            for column, column_type in columns.items()
            if (reason := _column_problem(name, column, column_type))
        )
    return problems


def comment_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the grain of every relation and the meaning and unit of every column into the database."""
    grains = _grains()
    views = {f"{schema}.{name}" for schema, name in _views(connection)}
    commented: set[str] = set()
    for relation, column, _ in _columns(connection):
        if relation not in commented and relation in grains:
            kind = "view" if relation in views else "table"
            connection.execute(f"comment on {kind} {relation} is {_quoted(grains[relation])}")
            commented.add(relation)
        if (entry := entry_of(relation, column)) is not None:
            connection.execute(f'comment on column {relation}."{column}" is {_quoted(comment_of(entry))}')


def entry_of(relation: str, column: str) -> tokenmill_sql.Column | None:
    """Return what the dictionary says of a column: an entry of its schema wins over one for every schema."""
    dictionary = tokenmill_sql.columns()
    return dictionary.get(f"{relation.partition('.')[0]}.{column}") or dictionary.get(column)


def comment_of(entry: tokenmill_sql.Column) -> str:
    """Return the comment of a column: its meaning, and its unit where it has one."""
    return f"{entry.description} Unit: {entry.unit}." if entry.unit else entry.description


def _offending(connection: duckdb.DuckDBPyConnection, check: tokenmill_sql.Model) -> list[Finding]:
    severity: Literal["fail", "warn"] = "fail" if check.grain.startswith("fail:") else "warn"
    rows = connection.execute(f"select hour_at, provider, detail from ({check.sql}) order by all").fetchall()
    return [
        Finding(check=check.relation, severity=severity, hour_at=hour, provider=provider, detail=detail)
        for hour, provider, detail in rows
    ]


def _column_problem(relation: str, column: str, column_type: str) -> str | None:
    entry = entry_of(relation, column)
    if entry is None:
        return "columns.toml does not know it"
    if entry.type != column_type:
        return f"it is {column_type}, columns.toml says {entry.type}"
    return None


def _columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() "
        "where database_name = current_database() and schema_name in (select unnest($schemas)) "
        "order by schema_name, table_name, column_index",
        {"schemas": list(DOCUMENTED_SCHEMAS)},
    ).fetchall()


def _views(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute(
        "select schema_name, view_name from duckdb_views() where database_name = current_database() and not internal"
    ).fetchall()


def _grains() -> dict[str, str]:
    models = (*tokenmill_sql.models("marts"), *tokenmill_sql.tables())
    return {model.relation: model.grain for model in models}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
