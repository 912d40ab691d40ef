-- One row per hour and provider whose new revision was withheld because a closure failed; the previous one stays.
create table if not exists hourly.withheld (
    hour_at timestamp not null,
    provider varchar not null,
    check_name varchar not null,
    detail varchar not null,
    withheld_at timestamp not null,
    resolved_at timestamp
);
