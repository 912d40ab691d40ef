-- One row per hour of the batch: a digest of its content, whatever the order of its rows.
-- Amounts come from whole numbers, so it does not hang on the order in which anything was summed.
with hashes as (
    select
        hour_at,
        row_number_of(r::varchar) as row_hash
    from work_revision_rows as r
)

select
    h.hour_at,
    count(s.row_hash) as row_count,
    digest_of(count(s.row_hash), sum(s.row_hash)) as content_digest
from work_hours as h
left join hashes as s on h.hour_at = s.hour_at
group by h.hour_at
