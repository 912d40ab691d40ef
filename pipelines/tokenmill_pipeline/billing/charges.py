"""Turns the text of a bill's rows into charges: times, exact amounts, flags, and a reason for every row refused.

The statement `billing/bill_charges.sql` does it for all rows of a file at once. Amounts are DECIMAL(38,12) and never
pass through a float. The temporary table `bill_charges` gathers the files of one load; a row with a reason is refused.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

import duckdb

import tokenmill_sql
from tokenmill_pipeline import warehouse
from tokenmill_pipeline.billing import currencies, focus
from tokenmill_pipeline.billing.focus import Shape
from tokenmill_pipeline.reference_data import canonical_provider

_PROVIDER_COLUMNS: Final = ("ServiceProviderName", "ProviderName", "InvoiceIssuerName")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fallbacks:
    """What stands in where a file, or a row of it, does not say: the flags of the load."""

    provider: str | None = None
    account: str | None = None
    currency: str | None = None


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros, the list of currencies and the empty table `bill_charges`."""
    macros = (tokenmill_sql.ROOT / "billing_macros.sql").read_text(encoding="utf-8")
    for statement in tokenmill_sql.statements(macros):
        connection.execute(statement)
    connection.execute(
        "create or replace temp table bill_currencies as select unnest($codes) as code",
        {"codes": sorted(currencies.ISO_4217)},
    )
    connection.execute(
        """
        create or replace temp table bill_charges as
        select
            null::integer as file_index, * exclude (delivery_id),
            null::varchar as reason, null::varchar as detail, null::varchar as payload
        from billing.charges
        limit 0
        """
    )


def gather(
    connection: duckdb.DuckDBPyConnection,
    shape: Shape,
    *,
    file_index: int,
    fallbacks: Fallbacks,
    provider_names: Mapping[str, str],
    payload_characters_max: int,
) -> None:
    """Add the rows of `bill_rows` to `bill_charges`, each with its flags and, where it is refused, the reason."""
    texts = ", ".join(
        f"{shape.expressions[name] if shape.has(name) else 'null::varchar'} as {column}"
        for name, column in focus.READ_COLUMNS.items()
    )
    connection.execute(
        f"create or replace temp view bill_texts as select row_number, r as source_row, {texts} from bill_rows as r"
    )
    _name_providers(connection, shape, provider_names)
    warehouse.set_variables(
        connection,
        {
            "bill_provider": fallbacks.provider and canonical_provider(fallbacks.provider, provider_names),
            "bill_account": fallbacks.account,
            "bill_currency": fallbacks.currency and fallbacks.currency.upper(),
            "bill_payload_characters_max": payload_characters_max,
        },
    )
    statement = next(model.sql for model in tokenmill_sql.models("billing") if model.relation == "bill_charges")
    connection.execute(
        f"insert into bill_charges by name select $file_index::integer as file_index, * from ({statement})",
        {"file_index": file_index},
    )


def _name_providers(connection: duckdb.DuckDBPyConnection, shape: Shape, provider_names: Mapping[str, str]) -> None:
    columns = [focus.READ_COLUMNS[name] for name in _PROVIDER_COLUMNS if shape.has(name)]
    names = (
        connection.execute(f"select distinct unnest([{', '.join(columns)}]) from bill_texts").fetchall()
        if columns
        else []
    )
    connection.execute("create or replace temp table bill_providers (name varchar primary key, provider varchar)")
    rows = [[name, canonical_provider(name, provider_names)] for (name,) in names if name is not None]
    if rows:
        connection.executemany("insert into bill_providers values ($1, $2)", rows)
