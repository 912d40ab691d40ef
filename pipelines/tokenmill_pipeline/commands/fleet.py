"""`tokenmill fleet`: the nodes and serving units that the fleet told of, and the confirmation of new nodes."""

from datetime import UTC, datetime

from tokenmill_pipeline.commands.base import Call, Commands, add_command, add_group
from tokenmill_pipeline.commands.published import published, show

NODES = """
    select node, provider, account, cluster, region, instance_type, gpu_count as gpus, is_confirmed as confirmed,
        simulated, agent_version, first_seen_at, last_seen_at
    from fleet.node_intervals
    qualify row_number() over (partition by node order by valid_from_at desc) = 1
    order by provider, cluster, node
"""
UNITS = """
    select deployment, replica, role, model, engine, gpu_generation, gpu_sku, provider, cluster,
        max(hour_at) as last_hour_at, arg_max(gpu_seconds_serving / 3600, hour_at) as gpu_hours_serving,
        arg_max(reasons, hour_at) as reasons
    from hourly.unit_economics
    where bucket = 'serving'
    group by all
    order by deployment, replica, role
"""


def register(commands: Commands) -> None:
    """Add the group."""
    group = add_group(commands, "fleet", "nodes, serving units and the confirmation of new nodes")
    add_command(group, "nodes", run_nodes, "list every node, as it last told of itself (times in UTC)")
    add_command(group, "units", run_units, "list every serving unit and its last published hour (GPU-hours)")
    confirm = add_command(group, "confirm", run_confirm, "let new nodes into the marts")
    confirm.add_argument("node", nargs="+", metavar="NODE", help="as `tokenmill fleet nodes` prints it")


def run_nodes(call: Call) -> int:
    """List the nodes of the published inventory."""
    return _print(call, NODES, "nodes")


def run_units(call: Call) -> int:
    """List the units of the published fact."""
    return _print(call, UNITS, "serving units")


def run_confirm(call: Call) -> int:
    """Confirm nodes in the warehouse; the next build builds their hours anew."""
    from tokenmill_pipeline import warehouse
    from tokenmill_pipeline.confirm import confirm

    settings, nodes = call.context.pipeline, call.arguments.node
    with warehouse.writer_lock(settings), warehouse.open_warehouse(settings) as connection:
        hours = confirm(connection, nodes, now=datetime.now(UTC))
    call.output.report({"confirmed": nodes, "hours_for_the_next_build": hours})
    return 0


def _print(call: Call, query: str, title: str) -> int:
    with published(call) as connection:
        show(connection, query, call.output, title)
    return 0
