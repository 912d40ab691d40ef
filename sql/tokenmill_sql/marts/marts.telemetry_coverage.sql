-- One row per hour and node: what was seen of it, what was missing and why.
select *
from work_node_coverage
