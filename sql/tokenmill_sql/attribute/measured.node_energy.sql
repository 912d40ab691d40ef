-- One row per hour, slot and node with host readings: the node's energy, and from what it was found.
-- The input of the node is measured. Modules, or GPUs and processors, are a part of it and are named so; what contains
-- the GPUs already is never added to them.
with candidates as (
    select
        s.hour_at,
        s.slot,
        s.node,
        g.gpu_energy_millijoules,
        s.host_source,
        case s.host_scope
            when 'node_input' then 'node_input'
            when 'module' then 'module'
            else 'gpu_plus_cpu'
        end as method,
        case
            when s.host_scope = 'cpu' then g.gpu_energy_millijoules + s.energy_millijoules
            else s.energy_millijoules
        end as energy_millijoules,
        s.is_known
        and (s.host_scope <> 'cpu' or g.is_gpu_known)
        -- As many modules as sockets, else one of them is missing.
        and (
            s.host_scope <> 'module'
            or s.socket_count >= coalesce(max(s.socket_count) filter (s.host_scope = 'cpu') over source, 0)
        ) as is_known,
        list_position(['node_input', 'module', 'cpu'], s.host_scope) as scope_order,
        coalesce(list_position(['redfish', 'dcmi', 'pdu', 'hwmon', 'rapl'], s.host_source), 9) as source_order
    from work_node_energy_sources as s
    inner join work_node_energy_gpus as g on s.hour_at = g.hour_at and s.slot = g.slot and s.node = g.node
    window source as (partition by s.hour_at, s.slot, s.node, s.host_source)
),

judged as (
    select
        *,
        is_known and energy_millijoules >= gpu_energy_millijoules as is_usable,
        is_known and energy_millijoules < gpu_energy_millijoules as is_below_gpus
    from candidates
),

chosen as (
    select
        hour_at,
        slot,
        node,
        any_value(gpu_energy_millijoules) as gpu_energy_millijoules,
        arg_min(
            {energy: energy_millijoules, method: method, source: host_source}, (scope_order, source_order)
        ) filter (is_usable) as choice,
        coalesce(bool_or(is_below_gpus), false) as is_below_gpus
    from judged
    group by all
)

select
    hour_at,
    slot,
    node,
    choice.energy as node_energy_millijoules,
    gpu_energy_millijoules,
    coalesce(choice.method, '(none)') as node_energy_method,
    coalesce(choice.source, '(none)') as host_source,
    reasons_of([
        case when is_below_gpus then 'node_energy_below_gpus' end,
        case when choice is null and not is_below_gpus then 'host_energy_incomplete' end,
        case when choice.method in ('module', 'gpu_plus_cpu') then 'node_energy_partial' end
    ]) as reasons
from chosen
