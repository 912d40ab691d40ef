-- One row per row of the fact that the hours of the batch are to have: new, or kept where a closure failed.
select *
from work_economics
anti join work_withheld using (hour_at, provider)
union all by name
select e.* exclude (revision)
from hourly.unit_economics as e
inner join hourly.revisions as r
    on e.hour_at = r.hour_at and e.revision = r.revision and r.superseded_at is null
semi join work_withheld as w on e.hour_at = w.hour_at and e.provider = w.provider
where e.hour_at >= getvariable('batch_from') and e.hour_at < getvariable('batch_until')
