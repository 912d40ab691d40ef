"""What does not close is withheld by provider, named, and let through once it closes again."""

from typing import Any

import pytest

import tokenmill_sql
from tests.priced import H0, Priced
from tokenmill_pipeline import quality, warehouse


@pytest.fixture
def priced() -> Priced:
    """Return a warehouse with a node of each of two providers, priced once."""
    found = Priced()
    found.use()
    found.use(node="node-b", provider="other", deployment="code", replica="r1", model_served="n")
    found.rate("rate_card", 2.0)
    found.price()
    return found


def break_use(priced: Priced) -> None:
    """Claim that more of the first provider's GPU time is matched than there is."""
    priced.connection.execute(
        "update hourly.unit_use set cost_matched_gpu_time_us = 9e12::bigint where provider = 'aws'"
    )
    priced.tokens(9, 1)


def costs(priced: Priced) -> list[tuple[Any, ...]]:
    """Return cost and reasons by model."""
    return priced.rows("select model, effective_cost, reasons from marts.hourly_economics order by model")


def test_a_failed_closure_withholds_its_provider_and_no_other(priced: Priced) -> None:
    """The broken provider keeps its earlier figures and says so; the other one's new figures appear."""
    break_use(priced)
    priced.connection.execute("update reference.prices set amount = 3")
    report = priced.price()

    assert [("shares_are_parts", "aws")] == [(finding.check, finding.provider) for finding in report.withheld]
    assert [("m", 16.0, ["no_token_counter", "revision_withheld"]), ("n", 24.0, ["no_token_counter"])] == costs(priced)
    assert [("aws", 16.0), ("other", 24.0)] == priced.rows(
        "select provider, reporting_cost from hourly.charge_lines order by 1"
    )


def test_a_withheld_hour_is_noted_once_and_resolved_when_it_closes(priced: Priced) -> None:
    """The note names the check and the row, is not repeated, and ends when the figures close again."""
    break_use(priced)
    priced.price()
    priced.price()
    noted = priced.rows("select provider, check_name, detail, resolved_at from hourly.withheld")
    priced.connection.execute("update hourly.unit_use set cost_matched_gpu_time_us = gpu_time_us")
    priced.price(now=H0)

    assert [("aws", "shares_are_parts", "serving r0 of chat: a part is larger than its whole", None)] == noted
    assert H0 == priced.one("select resolved_at from hourly.withheld")
    assert [] == [row for row in costs(priced) if "revision_withheld" in row[2]]


def test_a_first_build_that_does_not_close_shows_nothing_of_that_provider() -> None:
    """Without an earlier revision there is nothing to keep: the note is all there is."""
    priced = Priced()
    priced.use()
    break_use(priced)
    report = priced.price()

    assert 1 == len(report.withheld)
    assert [] == costs(priced)


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("update work_economics set effective_cost = effective_cost * 2", "dollars_of_the_lines_are_in_the_fact"),
        ("update work_economics set all_in_cost = all_in_cost + 1", "dollars_of_the_lines_are_in_the_fact"),
        ("update work_charge_lines set numerator_cost = 0", "dollars_of_the_bill_are_in_lines"),
        ("update work_economics set gpu_energy_joules = 5000", "joules_of_the_use_are_in_the_fact"),
        ("update work_economics set gpu_seconds_paid = 29000", "gpu_seconds_are_paid_once"),
        ("update work_economics set output_tokens = 5", "tokens_of_the_units_are_in_the_fact"),
        ("update work_economics set gpu_seconds_token_known = 99999", "shares_are_parts"),
    ],
)
def test_each_closure_finds_what_it_is_there_for(damage: str, check: str) -> None:
    """A model that loses or invents a dollar, a joule, a second or a token is caught, by provider and hour."""
    priced = Priced()
    priced.use(joules=1000)
    priced.tokens(8, 2)
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.price()
    before = quality.run_checks(priced.connection)
    priced.connection.execute(damage)
    after = quality.run_checks(priced.connection)

    assert [] == [finding for finding in before if finding.severity == "fail"]
    assert {(check, H0, "aws")} == {(found.check, found.hour_at, found.provider) for found in after}


def test_links_that_do_not_sum_to_one_are_warned_of_and_used_in_proportion() -> None:
    """Shares of 0.2 and 0.2 halve the cost between both nodes, and somebody is told."""
    priced = Priced()
    priced.use()
    priced.use(node="node-b", deployment="code", model_served="n")
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a", 0.2)
    priced.link("i-1", "node-b", 0.2)
    report = priced.price()

    assert ["links_sum_to_one"] == [finding.check for finding in report.warnings]
    assert [8.0, 8.0] == [cost for _, cost, _ in costs(priced)]


def test_a_table_that_is_not_as_the_dictionary_says_is_named() -> None:
    """A column of another type, one that nobody described and a missing table each give a sentence."""
    priced = Priced()
    priced.connection.execute("alter table fleet.overrides alter field_value type integer")
    priced.connection.execute("alter table fleet.overrides add column oddity integer")

    assert [
        "marts.nothing is missing",
        "fleet.overrides.field_value: it is INTEGER, columns.toml says VARCHAR",
        "fleet.overrides.oddity: columns.toml does not know it",
    ] == quality.contract_problems(priced.connection, ["fleet.overrides", "marts.nothing"])


def test_comments_say_what_a_column_means_and_its_unit() -> None:
    """Analysts read meaning and unit in the database itself."""
    priced = Priced()
    warehouse.set_hours(priced.connection, [])
    priced.price()
    quality.comment_columns(priced.connection)

    assert "Energy of the GPUs at the boundary of the board; NULL where no reading gives it. Unit: J." == priced.one(
        "select comment from duckdb_columns() where table_name = 'hourly_tokens_per_megawatt' "
        "and column_name = 'gpu_energy_joules'"
    )
    assert tokenmill_sql.tables()[0].grain == priced.one(
        f"select comment from duckdb_tables() where table_name = '{tokenmill_sql.tables()[0].relation.split('.')[1]}'"
    )
