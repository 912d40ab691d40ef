"""Keeps the inventory: turns the sightings of new slices into intervals that hold between them."""

import dataclasses
from typing import Final

import duckdb

import tokenmill_sql
from tokenmill_pipeline import warehouse

SILENCE_MAX: Final = "24 hours"
"""A thing that was silent for longer is not taken to have been there in between."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One interval table: where its sightings come from, what names an entity, and columns that no sighting has."""

    table: str
    sightings: str
    entity: tuple[str, ...]
    extra: tuple[tuple[str, str], ...] = ()


INVENTORIES: Final = (
    Inventory(
        table="fleet.node_intervals",
        sightings="work_node_sightings",
        entity=("node",),
        extra=(("is_confirmed", "not getvariable('require_confirmation')"),),
    ),
    Inventory(table="fleet.gpu_intervals", sightings="work_gpu_sightings", entity=("gpu_uuid", "node")),
    Inventory(table="fleet.server_intervals", sightings="work_server_sightings", entity=("server_id", "node")),
)


def update(connection: duckdb.DuckDBPyConnection) -> None:
    """Extend every interval table by the sightings in `new_messages`, `new_devices`, `new_servers`, `new_placements`.

    Sightings may come late or out of order; the same slices seen twice change nothing.
    """
    for model in tokenmill_sql.models("fleet"):
        warehouse.run_model(connection, model)
        if model.relation == "work_clock_offsets":
            _merge_clock_offsets(connection)
    for inventory in INVENTORIES:
        _extend(connection, inventory)
    _replace_placements(connection)
    _register_series(connection)


def _merge_clock_offsets(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        insert into measured.clock_offsets by name select * from work_clock_offsets
        on conflict do update set
            live_offset_us = least(live_offset_us, excluded.live_offset_us),
            is_driven = is_driven and excluded.is_driven
        """
    )


def _extend(connection: duckdb.DuckDBPyConnection, inventory: Inventory) -> None:
    columns = [row[0] for row in connection.execute(f"describe {inventory.sightings}").fetchall()]
    attributes = [name for name in columns if name not in (*inventory.entity, "first_at_us", "last_at_us")]
    entity, described = ", ".join(inventory.entity), ", ".join(attributes)
    same = " and ".join(f"i.{name} = r.{name}" for name in inventory.entity)
    extra = "".join(f", coalesce(bool_or({name}), {default}) as {name}" for name, default in inventory.extra)
    nothing = "".join(f", null::boolean as {name}" for name, _ in inventory.extra)
    kept = "".join(f", i.{name}" for name, _ in inventory.extra)
    connection.execute(
        f"""
        create or replace temp table work_reach as
        with fresh as (
            select {entity}, make_timestamp(min(first_at_us)) as first_at from {inventory.sightings} group by all
        )
        select {", ".join(f"r.{name}" for name in inventory.entity)},
            coalesce(max(i.valid_from_at) filter (i.valid_from_at <= r.first_at), any_value(r.first_at)) as boundary_at
        from fresh as r left join {inventory.table} as i on {same}
        group by all
        """
    )
    # A run of one description goes on while the next sighting says the same and the silence is not too long.
    connection.execute(
        f"""
        create or replace temp table work_merged as
        with sightings as (
            select {entity}, {described}, first_at_us, last_at_us {nothing} from {inventory.sightings}
            union all
            select {", ".join(f"i.{name}" for name in (*inventory.entity, *attributes))},
                epoch_us(i.first_seen_at), epoch_us(i.last_seen_at) {kept}
            from {inventory.table} as i inner join work_reach as r on {same} and i.valid_from_at >= r.boundary_at
        ),
        described as (select *, hash({described}) as description from sightings),
        marked as (
            select *,
                description is distinct from lag(description) over ordered
                or first_at_us - max(last_at_us) over (ordered rows between unbounded preceding and 1 preceding)
                    > epoch_us(timestamp '1970-01-01' + interval '{SILENCE_MAX}') as starts_run
            from described
            window ordered as (partition by {entity} order by first_at_us, last_at_us, description)
        ),
        runs as (
            select *, sum(starts_run::integer) over (
                partition by {entity} order by first_at_us, last_at_us, description
                rows between unbounded preceding and current row
            ) as run
            from marked
        )
        select {entity}, {", ".join(f"any_value({name}) as {name}" for name in attributes)} {extra},
            make_timestamp(min(first_at_us)) as valid_from_at,
            make_timestamp(min(first_at_us)) as first_seen_at,
            make_timestamp(max(last_at_us)) as last_seen_at
        from runs
        group by {entity}, run
        """
    )
    connection.execute(
        f"delete from {inventory.table} as i using work_reach as r where {same} and i.valid_from_at >= r.boundary_at"
    )
    connection.execute(f"insert into {inventory.table} by name select * from work_merged")


def _replace_placements(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        delete from fleet.placement_intervals as i using work_placement_sightings as s
        where s.is_stored and i.gpu_uuid = s.gpu_uuid and i.node = s.node and i.mig_uuid = s.mig_uuid
            and i.deployment = s.deployment and i.replica = s.replica and i.valid_from_at = s.valid_from_at
            and epoch_us(i.first_seen_at) = s.first_at_us
        """
    )
    connection.execute("insert into fleet.placement_intervals by name select * from work_placement_intervals")


def _register_series(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        insert or ignore into measured.gpu_series by name
        select series_key, any_value(node) as node, any_value(gpu_uuid) as gpu_uuid, any_value(boot_id) as boot_id,
            coalesce(any_value(driver_version), '(unknown)') as driver_version,
            any_value(nvml_generation) as nvml_generation, any_value(energy_scope) as energy_scope,
            max(power_limit_milliwatts) as power_limit_milliwatts, any_value(simulated) as simulated
        from new_devices group by series_key
        """
    )
    connection.execute(
        """
        insert or ignore into measured.token_series by name
        select series_key, any_value(node) as node, any_value(boot_id) as boot_id,
            any_value(server_id) as server_id, any_value(rank) as rank
        from new_token_samples group by series_key
        """
    )
