"""What the two headline tables say, against figures worked out by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.priced import H0, HOUR, Priced

COST_COLUMNS = [
    "hour_at",
    "gpu_generation",
    "model",
    "currency",
    "gpu_skus",
    "effective_cost",
    "all_in_cost",
    "energy_cost",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "total_tokens",
    "gpu_hours_paid",
    "gpu_hours_allocated",
    "gpu_hours_serving",
    "matched_effective_cost",
    "matched_all_in_cost",
    "cost_matched_tokens",
    "cost_per_million_tokens",
    "all_in_cost_per_million_tokens",
    "cost_per_million_output_tokens",
    "cost_per_million_computed_tokens",
    "input_cost_per_million_tokens",
    "output_cost_per_million_tokens",
    "split_basis",
    "cost_per_gpu_hour",
    "tokens_per_second_per_gpu",
    "cost_status",
    "estimated_cost_share",
    "token_coverage",
    "cost_coverage",
    "reasons",
    "hour_state",
    "revision",
    "recorded_at",
]
MEGAWATT_COLUMNS = [
    "hour_at",
    "gpu_generation",
    "model",
    "gpu_skus",
    "total_tokens",
    "output_tokens",
    "gpu_energy_joules",
    "node_energy_joules",
    "facility_energy_joules",
    "provisioned_energy_joules",
    "matched_gpu_energy_joules",
    "energy_matched_tokens",
    "tokens_per_second_per_megawatt_gpu",
    "tokens_per_second_per_megawatt_node",
    "tokens_per_second_per_megawatt_facility",
    "tokens_per_second_per_megawatt_provisioned",
    "tokens_per_megawatt_hour_gpu",
    "tokens_per_megawatt_hour_facility",
    "joules_per_token",
    "energy_method",
    "node_energy_method",
    "pue_source",
    "provisioned_source",
    "energy_interpolated_share",
    "energy_coverage",
    "token_coverage",
    "reasons",
    "hour_state",
    "revision",
    "recorded_at",
]

WITHOUT_ENERGY: dict[str, Any] = {"energy_matched_input_tokens": None, "energy_matched_output_tokens": None}


@pytest.fixture
def priced() -> Priced:
    """Return a warehouse whose rate card asks 2 dollars for a GPU-hour."""
    warehouse = Priced()
    warehouse.rate("rate_card", 2.0)
    return warehouse


def cost(priced: Priced, columns: str, model: str = "m") -> Any:
    """Return columns of the first headline table for a model."""
    return priced.one(f"select {columns} from marts.hourly_cost_per_token where model = '{model}'")


def power(priced: Priced, columns: str, model: str = "m") -> Any:
    """Return columns of the second headline table for a model."""
    return priced.one(f"select {columns} from marts.hourly_tokens_per_megawatt where model = '{model}'")


def all_in(priced: Priced) -> dict[str, float]:
    """Return the all-in cost by model or bucket."""
    rows = priced.rows("select model, sum(all_in_cost) from marts.hourly_economics group by all")
    return dict(rows)


@pytest.mark.parametrize(
    ("view", "columns"),
    [("hourly_cost_per_token", COST_COLUMNS), ("hourly_tokens_per_megawatt", MEGAWATT_COLUMNS)],
)
def test_the_headline_tables_have_their_public_columns(view: str, columns: list[str]) -> None:
    """Names and order of the columns are what users build upon."""
    priced = Priced()
    priced.price()

    found = [row[0] for row in priced.rows(f"describe marts.{view}")]
    assert columns == found


def test_every_ratio_of_cost_is_what_a_hand_computes(priced: Priced) -> None:
    """8 GPU-hours at 2 dollars for 10 M tokens, of which 6 M were cached, 2 M were generated."""
    priced.use()
    priced.tokens(8_000_000, 2_000_000, cached_input_tokens=6_000_000)
    priced.price()

    names = "cost_per_million_tokens, cost_per_million_output_tokens, cost_per_million_computed_tokens"
    assert (1.6, 8.0, 4.0) == cost(priced, names)
    assert (2.0, 10_000_000 / 8 / 3600) == cost(priced, "cost_per_gpu_hour, tokens_per_second_per_gpu")
    assert ("no_phase_basis", None, None) == cost(
        priced, "split_basis, input_cost_per_million_tokens, output_cost_per_million_tokens"
    )
    assert (1.0, 1.0, 1.0, []) == cost(priced, "token_coverage, cost_coverage, estimated_cost_share, reasons")


def test_every_ratio_of_power_is_what_a_hand_computes(priced: Priced) -> None:
    """10 M tokens of 5 MJ are 2 M tokens per second for each megawatt, and 0.5 J each."""
    priced.use(joules=5_000_000)
    priced.tokens(8_000_000, 2_000_000)
    priced.price()

    names = "tokens_per_second_per_megawatt_gpu, tokens_per_megawatt_hour_gpu, joules_per_token"
    assert (2e6, 7.2e9, 0.5) == power(priced, names)
    assert 1e6 * 10_000_000 / (1370 * 8 * 3600) == power(priced, "tokens_per_second_per_megawatt_provisioned")
    assert (None, None, ["no_node_power"]) == power(
        priced, "tokens_per_second_per_megawatt_node, tokens_per_second_per_megawatt_facility, reasons"
    )


def test_node_and_facility_power_use_what_is_measured_and_stated(priced: Priced) -> None:
    """The facility's energy is the node's times the PUE, and the PUE's source stands beside it."""
    energy = {"node_energy_millijoules": 8_000_000_000, "matched_node_energy_millijoules": 8_000_000_000}
    priced.use(joules=5_000_000, **energy)
    priced.tokens(8_000_000, 2_000_000)
    priced.rate("pue", 1.25, provider="aws")
    priced.price()

    names = "tokens_per_second_per_megawatt_node, tokens_per_second_per_megawatt_facility, pue_source, reasons"
    assert (1.25e6, 1e6, "modelled: pue of the test", []) == power(priced, names)


def test_a_ratio_divides_only_what_is_known_on_both_sides(priced: Priced) -> None:
    """Tokens of half the hour are divided by half of its cost and energy; the sums of the whole hour stay."""
    priced.use(known=0.5, joules=4_000_000)
    priced.tokens(8_000_000, 2_000_000, known=0.5)
    priced.price()

    assert (16.0, 8.0, 5_000_000, 1.6, 0.5) == cost(
        priced,
        "effective_cost, matched_effective_cost, cost_matched_tokens, cost_per_million_tokens, token_coverage",
    )
    assert (2_000_000.0, 2.5e6) == power(priced, "matched_gpu_energy_joules, tokens_per_second_per_megawatt_gpu")


def test_a_node_without_energy_does_not_double_tokens_per_megawatt(priced: Priced) -> None:
    """Of two equal nodes only one knows its energy: the ratio is that of the one."""
    priced.use(joules=5_000_000)
    priced.use(node="node-b", replica="r1")
    priced.tokens(8_000_000, 2_000_000)
    priced.tokens(8_000_000, 2_000_000, replica="r1", **WITHOUT_ENERGY)
    priced.price()

    assert (20_000_000, 10_000_000, 2e6, 0.5) == power(
        priced, "total_tokens, energy_matched_tokens, tokens_per_second_per_megawatt_gpu, energy_coverage"
    )


def test_a_unit_whose_cost_is_known_in_part_has_no_ratio() -> None:
    """A replica on two nodes of which one has no price: its tokens divide nothing."""
    priced = Priced()
    priced.use()
    priced.use(node="node-b", provider="other")
    priced.rate("rate_card", 2.0, provider="aws")
    priced.tokens(8, 2)
    priced.price()

    assert (16.0, None, None, None, 0.5) == cost(
        priced,
        "effective_cost, matched_effective_cost, cost_matched_tokens, cost_per_million_tokens, cost_coverage",
    )


def test_tokens_of_zero_have_no_cost_each_and_the_cost_is_shown(priced: Priced) -> None:
    """A placed GPU costs its model at 0 tokens too; the ratio has no value and the reason says why."""
    priced.use(joules=1000)
    priced.tokens(0, 0)
    priced.price()

    assert (16.0, None, ["zero_tokens"]) == cost(priced, "effective_cost, cost_per_million_tokens, reasons")
    assert (0.0, None) == power(priced, "tokens_per_second_per_megawatt_gpu, joules_per_token")


def test_missing_energy_is_no_zero(priced: Priced) -> None:
    """Without any reading the energy and its ratios have no value, and the reason is named."""
    priced.use()
    priced.tokens(8, 2, **WITHOUT_ENERGY)
    priced.price()

    assert (None, None, None) == power(
        priced, "gpu_energy_joules, joules_per_token, tokens_per_second_per_megawatt_gpu"
    )
    assert "energy_missing" in power(priced, "reasons")


def test_unknown_tokens_have_no_ratio(priced: Priced) -> None:
    """A unit whose role is unknown keeps its cost; its tokens are NULL and so is what they would divide."""
    priced.use(known=0)
    priced.tokens(None, None, known=0, role="unknown", reasons=["role_unknown"])
    priced.price()

    assert (16.0, None, None) == cost(priced, "effective_cost, total_tokens, cost_per_million_tokens")
    assert "role_unknown" in cost(priced, "reasons")


def test_tokens_without_gpus_stand_alone(priced: Priced) -> None:
    """Tokens of a unit that holds no GPU stand under an unknown generation and never divide a cost."""
    priced.use()
    priced.tokens(8, 2)
    priced.tokens(70, 30, deployment="lost", replica="r9", model_served="m", known=0)
    report = priced.price()

    assert () == report.withheld
    assert ("(unknown)", 100, None, ["no_gpu_placed"]) == priced.one(
        "select gpu_generation, total_tokens, cost_per_million_tokens, reasons from marts.hourly_cost_per_token "
        "where list_contains(reasons, 'no_gpu_placed')"
    )


def test_idle_and_overhead_reach_the_models_in_proportion_to_their_cost() -> None:
    """All-in cost: a node's idle time within its cluster, tax within the account, both by effective cost."""
    priced = Priced()
    priced.use(gpu_hours=6)
    priced.use(gpu_hours=2, bucket="idle")
    priced.use(node="node-b", cluster="c2", deployment="code", model_served="n")
    priced.rate("rate_card", 1.0)
    priced.rate("rate_card", 1.5, provider="aws", account="acct", scope="acct")
    priced.delivery(delivery_id="tax", data_until_at=H0 - HOUR)
    priced.charge("4.8", delivery_id="tax", charge_category="Tax")
    priced.price()

    # node-a: 9 for m, 3 idle; node-b: 12 for n. The idle 3 go to m alone; the tax splits 9 : 12.
    expected = {"m": 9 + 3 + 4.8 * 9 / 21, "n": 12 + 4.8 * 12 / 21, "(idle)": 0, "(overhead)": 0}
    assert pytest.approx(expected, abs=1e-9) == all_in(priced)


def test_what_no_model_can_take_stays_where_it_is() -> None:
    """In a cluster without a unit idle stays idle; another cluster of the account does not pay for it."""
    priced = Priced()
    priced.use(bucket="idle")
    priced.use(node="node-b", cluster="c2")
    priced.rate("rate_card", 2.0)
    priced.price()

    assert {"m": 16.0, "(idle)": 16.0} == all_in(priced)


def test_usage_that_no_machine_explains_is_never_spread() -> None:
    """An account's other machines are nobody's overhead."""
    priced = Priced()
    priced.use()
    priced.charge("16", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.charge("100", resource_id="database")
    priced.price()

    assert {"m": 16.0, "(unallocated)": 100.0} == all_in(priced)


def test_credits_make_the_rest_cheaper_and_may_pass_below_zero(priced: Priced) -> None:
    """A credit larger than the cost leaves a negative all-in cost, kept as it is."""
    priced.use()
    priced.delivery(data_until_at=H0 - HOUR)
    priced.charge("-20", charge_category="Credit")
    priced.price()

    assert {"m": -4.0, "(overhead)": 0.0} == all_in(priced)


def test_commitments_that_cost_nothing_each_share_the_rest_by_gpu_time() -> None:
    """Where the allocated cost 0, an unused commitment is shared by allocated GPU time."""
    priced = Priced()
    priced.use(gpu_hours=2)
    priced.use(gpu_hours=6, deployment="code", model_served="n")
    priced.charge("0", resource_id="i-1")
    priced.link("i-1", "node-a")
    priced.charge("8", commitment_discount_status="Unused")
    priced.price()

    assert {"m": 2.0, "n": 6.0, "(unused_commitment)": 0.0} == all_in(priced)


def test_prefill_and_decode_give_input_and_output_cost_that_add_up(priced: Priced) -> None:
    """16 dollars of prefill for 90 M input tokens, 32 of decode for 10 M output tokens, on two generations."""
    priced.use(replica="p0", role="prefill")
    priced.use(node="node-b", replica="d0", role="decode", gpu_hours=16, gpu_sku="B200")
    priced.tokens(90_000_000, None, replica="p0", role="prefill")
    priced.tokens(None, 10_000_000, replica="d0", role="decode")
    priced.price()

    assert ("Hopper+Blackwell", ["B200", "H100"], "role", 100_000_000) == cost(
        priced, "gpu_generation, gpu_skus, split_basis, total_tokens"
    )
    parts = cost(priced, "input_cost_per_million_tokens * 90, output_cost_per_million_tokens * 10")
    assert pytest.approx((16.0, 32.0)) == parts


def test_a_replica_over_two_products_names_both_in_order_of_release(priced: Priced) -> None:
    """A unit on Hopper and Blackwell is one row, whichever name comes first in the alphabet."""
    priced.use(gpu_sku="B200")
    priced.use(node="node-b")
    priced.tokens(8, 2)
    priced.price()

    assert ("Hopper+Blackwell", "H100+B200", 32.0) == priced.one(
        "select gpu_generation, gpu_sku, effective_cost from hourly.unit_economics"
    )


def test_an_alias_gives_the_canonical_model(priced: Priced) -> None:
    """The alias that names more wins; a name without one stays as it is served."""
    priced.use()
    priced.use(node="node-b", deployment="code", model_served="n")
    rows = [("*", "*", "m", "wide"), ("c1", "ch*", "m", "narrow"), ("other", "*", "n", "wrong")]
    for cluster, pattern, served, model in rows:
        priced.connection.execute(
            "insert into fleet.model_aliases values ($1, $2, $3, '2020-01-01', $4)", [cluster, pattern, served, model]
        )
    priced.price()

    assert [("n",), ("narrow",)] == priced.rows("select distinct model from marts.hourly_cost_per_token order by 1")


def test_a_simulated_fleet_says_so_in_every_table(priced: Priced) -> None:
    """Whoever looks at a figure of a simulated fleet sees that it is one."""
    priced.use(simulated=True, joules=5, reasons=["simulated"])
    priced.tokens(8, 2, simulated=True)
    priced.price()

    assert "simulated" in cost(priced, "reasons")
    assert "simulated" in power(priced, "reasons")
    flags = " union all ".join(
        f"select simulated from {table}"
        for table in ("hourly.unit_economics", "marts.hourly_economics", "marts.cost_reconciliation")
    )
    assert [(True,)] * 3 == priced.rows(flags)


def test_coverage_tells_what_was_seen_of_a_node(priced: Priced) -> None:
    """Shares of GPU time by what is known of it, and what the messages say."""
    priced.use(gpu_hours=4, known=0.5, joules=1)
    priced.use(gpu_hours=4, bucket="unobserved")
    priced.connection.execute(
        "insert into measured.node_hours values ($1, 'node-a', 'boot', 350, 10, 0, 1, 7, 'live')", [H0]
    )
    priced.price()
    priced.connection.execute("delete from measured.node_hours")
    priced.price()

    assert (0.5, 0.5, 0.5, 350, 10, ["messages_missing"]) == priced.one(
        "select observed_share, token_coverage, energy_coverage, message_count, missing_message_count, reasons "
        "from marts.telemetry_coverage"
    )


def test_reconciliation_shows_where_the_charges_went(priced: Priced) -> None:
    """Every dollar of a provider, account and day is under one heading, and nothing is left over."""
    priced.use(gpu_hours=6)
    priced.use(gpu_hours=2, bucket="idle")
    priced.charge("16", resource_id="i-1", invoice_id="INV-1")
    priced.link("i-1", "node-a")
    priced.charge("3", charge_category="Tax", invoice_id="INV-1")
    priced.charge("0", billed="500", charge_category="Purchase", charge_period_end_at=H0 + 100 * HOUR)
    priced.price()

    assert (19.0, 12.0, 4.0, 3.0, 0.0) == priced.one(
        "select charges_cost, serving_cost, idle_cost, overhead_cost, residual_cost from marts.cost_reconciliation "
        "where view = 'effective'"
    )
    assert (519.0, 16.0, 500.0, 3.0, 0.0) == priced.one(
        "select charges_cost, usage_cost, purchases_cost, overhead_cost, residual_cost from marts.cost_reconciliation "
        "where view = 'billed'"
    )
    assert [("(none)", 500), ("INV-1", 19)] == priced.rows(
        "select invoice_id, billed_cost from marts.invoice_reconciliation order by 1"
    )


shares = st.floats(min_value=0, max_value=1)
units = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 8), shares, st.integers(0, 10**9), st.integers(0, 10**9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=8, deadline=None)
@given(
    found=units,
    idle=st.integers(0, 8),
    bill=st.lists(st.decimals(-(10**6), 10**6, places=6), min_size=1, max_size=4),
    rate=st.none() | st.floats(0, 100),
)
def test_what_goes_in_comes_out(
    found: list[tuple[int, int, float, int, int]], idle: int, bill: list[Any], rate: float | None
) -> None:
    """Whatever holds the GPUs and whatever the bill says: dollars, GPU time and tokens close, parts are parts."""
    priced = Priced()
    for number, (node, hours, known, tokens_in, tokens_out) in enumerate(found):
        unit = {"deployment": f"d{number}", "replica": "r", "model_served": f"m{number % 2}"}
        priced.use(gpu_hours=hours, known=known, joules=1000.0 * hours, node=f"node-{node}", **unit)
        priced.tokens(tokens_in, tokens_out, known=known, **unit)
    priced.use(gpu_hours=idle, bucket="idle", node="node-0")
    for number, amount in enumerate(bill):
        priced.charge(str(amount), resource_id=f"i-{number}" if number % 2 else None)
        priced.link(f"i-{number}", f"node-{number}")
    if rate is not None:
        priced.rate("rate_card", rate, provider="other")
        priced.use(gpu_hours=1, node="far", provider="other", deployment="far", replica="r")
    report = priced.price()

    assert () == report.withheld
    charges, hours, tokens = priced.one(
        "select (select coalesce(sum(reporting_cost), 0) from hourly.charge_lines), "
        "(select sum(gpu_time_us) from hourly.unit_use), "
        "(select sum(input_tokens + output_tokens) from hourly.unit_tokens)"
    )
    cells = priced.one(
        "select coalesce(sum(effective_cost), 0), coalesce(sum(all_in_cost), 0), sum(gpu_seconds_paid), "
        "sum(total_tokens) from marts.hourly_economics"
    )
    assert pytest.approx((charges, charges, hours / 1e6, tokens), rel=1e-9, abs=1e-6) == cells
    assert [] == priced.rows(
        "select 1 from marts.hourly_economics where cost_matched_tokens > total_tokens "
        "or gpu_seconds_cost_matched > gpu_seconds_paid"
    )
