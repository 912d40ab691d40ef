-- How the text of a bill is read: each macro takes a text as it stands in the file and gives NULL where it cannot be read.

-- ISO 8601 with or without a zone (then UTC), or a date with the month first. Two-digit years come first in the list,
-- because '%Y' would read 25 as the year 25.
create or replace temp macro bill_time(t) as
    case
        when t is null then null
        when t like '____-__-__T__:__:__Z' then try_cast(t as timestamp)
        when regexp_full_match(
            trim(t), '\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|z| ?UTC|[+-]\d{2}(:?\d{2})?)?)?'
        ) then try_cast(
            regexp_replace(upper(trim(t)), '([T ]\d\d:\d\d)((Z| ?UTC|[+-]\d{2}(:?\d{2})?)?)$', '\1:00\2') as timestamptz
        )::timestamp
        when regexp_full_match(trim(t), '\d{1,2}/\d{1,2}/(\d{4}|\d{2})( \d{1,2}:\d{2}(:\d{2})?)?') then try_strptime(
            trim(t), ['%m/%d/%y', '%m/%d/%Y', '%m/%d/%y %H:%M', '%m/%d/%Y %H:%M', '%m/%d/%y %H:%M:%S', '%m/%d/%Y %H:%M:%S']
        )
    end;

create or replace temp macro bill_has_zone(t) as
    t is null or t like '%:__Z' or regexp_matches(trim(t), ':\d\d(\.\d+)?(Z|z| ?UTC|[+-]\d{2}(:?\d{2})?)$');

-- Money as people write it, $10,000.00 or (12.50), only where the plain reading fails.
create or replace temp macro bill_money(t) as
    case
        when t is not null and regexp_full_match(
            replace(t, ' ', ''), '\(?[+-]?[$€£¥]?[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?\)?'
        ) then try_cast(
            if(t like '%(%', '-', '') || regexp_replace(t, '[^0-9.+-]', '', 'g') as decimal(38, 12)
        )
    end;

-- The narrow type first: it reads almost every amount, exactly, and fifty times faster than the wide one.
create or replace temp macro bill_amount(t) as
    coalesce(try_cast(t as decimal(18, 12))::decimal(38, 12), try_cast(t as decimal(38, 12)), bill_money(t));

-- A digit other than 0 behind the twelfth decimal place, or a negative exponent, cannot be kept exactly.
create or replace temp macro bill_is_rounded(t) as
    length(t) > 13 and (regexp_matches(t, '\.\d{12}\d*[1-9]') or regexp_matches(t, '[eE]-'));

-- The machine's type in a list of properties, in a usage type or in a description.
create or replace temp macro bill_instance_in_properties(t) as
    nullif(
        regexp_extract(t, '"(?:x_)?(?:InstanceType|instanceType|MachineType|ServiceType)"\s*:\s*"([^"]+)"', 1), ''
    );
create or replace temp macro bill_instance_in_usage(t) as nullif(regexp_extract(t, ':([a-z0-9-]+\.[a-z0-9-]+)$', 1), '');
create or replace temp macro bill_instance_in_words(t) as
    nullif(
        regexp_extract(
            t, '\b([a-z][a-z0-9-]*[0-9][a-z0-9-]*\.(?:metal(?:-[0-9]+xl)?|[0-9]*xlarge|large|medium|small))\b', 1
        ),
        ''
    );

-- Values of the closed lists of FOCUS, read without regard to case; what is in no list stays as it is.
create or replace temp macro bill_category(t) as
    case lower(trim(t))
        when 'usage' then 'Usage'
        when 'purchase' then 'Purchase'
        when 'tax' then 'Tax'
        when 'credit' then 'Credit'
        when 'adjustment' then 'Adjustment'
        else t
    end;
create or replace temp macro bill_class(t) as if(lower(trim(t)) = 'correction', 'Correction', t);
create or replace temp macro bill_frequency(t) as
    case lower(trim(t))
        when 'one-time' then 'One-Time'
        when 'recurring' then 'Recurring'
        when 'usage-based' then 'Usage-Based'
        else t
    end;
create or replace temp macro bill_use(t) as
    case lower(trim(t))
        when 'used' then 'Used'
        when 'unused' then 'Unused'
        else t
    end
