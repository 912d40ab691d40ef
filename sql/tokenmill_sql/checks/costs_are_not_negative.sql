-- warn: a unit costs less than nothing: a credit or a correction is larger than what it corrects
select
    hour_at,
    provider,
    format('{} of {}: {} {}', replica, deployment, effective_cost, currency) as detail
from work_economics
where bucket = 'serving' and effective_cost < 0
