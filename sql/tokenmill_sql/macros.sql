-- Constants and conversions, each written once. Times are TIMESTAMP in UTC outside, microseconds since 1970 inside.
create or replace macro hour_us() as 3600000000::bigint;
create or replace macro slot_us() as 300000000::bigint;
create or replace macro hour_of(at_us) as make_timestamp((at_us // hour_us()) * hour_us());
create or replace macro slot_of(at_us) as ((at_us % hour_us()) // slot_us())::tinyint;
create or replace macro gpu_seconds(time_us) as time_us / 1e6;
create or replace macro gpu_hours(seconds) as seconds / 3600.0;
create or replace macro joules(energy_millijoules) as energy_millijoules / 1000.0;
-- A ratio has a value only where both sides are known and the lower one is not 0.
create or replace macro ratio(upper, lower) as case when lower <> 0 then upper / lower end;
create or replace macro overlap_us(a_from, a_to, b_from, b_to) as greatest(0, least(a_to, b_to) - greatest(a_from, b_from));
-- The part of an integer amount that falls before `at_us`, when it is spread evenly over [from_us, to_us): differences of
-- it give integer shares that add up to the amount, whatever the cuts.
create or replace macro spread_before(amount, from_us, to_us, at_us) as
    case
        when at_us <= from_us then 0
        when at_us >= to_us then amount
        else ((amount::hugeint * (at_us - from_us)) // (to_us - from_us))::bigint
    end;
-- More than this in the time is no reading of a GPU: the limit with its margin over the time, and a second for the driver's
-- update step. NULL, which compares as plausible nowhere, is replaced by a bound that no GPU reaches.
create or replace macro energy_millijoules_max(limit_milliwatts, time_us) as
    coalesce(limit_milliwatts, 20000000) * getvariable('power_limit_factor') * (time_us + 1000000) / 1e6;
-- Wall and monotonic time that differ by more than 2 s over a step: the wall clock was set meanwhile.
create or replace macro is_clock_step(wall_us, monotonic_us) as abs(wall_us - monotonic_us) > 2000000;
-- The agent leaves gaps over 3 s out of its integral: where it covers all of a step, the step has none.
create or replace macro has_no_gap(step_us, covered_us) as coalesce(covered_us >= step_us - 3000000, false);
-- No node, and no rack, draws a megawatt: a host reading above it, with a second for the sensor's update step, is none.
create or replace macro host_energy_millijoules_max(time_us) as 1000000000.0 * (time_us + 1000000) / 1e6;
-- A text as a key: the first 64 bits of its MD5, the same in every version.
create or replace macro key_of(name) as (md5_number_lower(name)::hugeint - 9223372036854775808)::bigint;
-- What each counter did between two looks; NULL where either look lacked it.
create or replace macro counter_steps(counters, prior) as {
    input: counters.input - prior.input,
    cached: counters.cached - prior.cached,
    output: counters.output - prior.output,
    requests: counters.requests - prior.requests,
    draft: counters.draft - prior.draft,
    accepted: counters.accepted - prior.accepted,
    ttft_count: counters.ttft_count - prior.ttft_count,
    inter_token_count: counters.inter_token_count - prior.inter_token_count,
    ttft: counters.ttft - prior.ttft,
    inter_token: counters.inter_token - prior.inter_token,
    prefill: counters.prefill - prior.prefill,
    decode: counters.decode - prior.decode
};
-- Why a step between two looks cannot be counted, or NULL: a process does not take tokens back, and no GPU is that fast.
create or replace macro step_fault(steps, time_us, tokens_per_second_max, is_start_known) as
    case
        when least(steps.input, steps.output, steps.cached) < 0 and is_start_known then 'counter_fell_in_process'
        when least(steps.input, steps.output, steps.cached) < 0 then 'counter_fell_process_start_unknown'
        when greatest(steps.input, steps.output) > tokens_per_second_max * (time_us + 1000000) / 1e6
            then 'implausible_token_rate'
    end;
-- The tokens of a step that is not counted: a jump's size; a fall has none.
create or replace macro set_aside(steps) as greatest(coalesce(steps.input, 0), 0) + greatest(coalesce(steps.output, 0), 0);
-- Those of a list that are not NULL, each once, sorted.
create or replace macro reasons_of(candidates) as list_sort(list_distinct(list_filter(candidates, lambda reason: reason is not null)));
-- An integer share of an integer, from one cumulated part to the next: all shares of a whole add up to it.
create or replace macro part_of(amount, part_from, part_to) as
    (floor(amount * part_to) - floor(amount * part_from))::bigint;
-- Money is counted in whole trillionths of its currency, so that what is split adds up and no order of summing matters.
create or replace macro money_trillionths(amount) as replace(amount::decimal(38, 12)::varchar, '.', '')::hugeint;
create or replace macro trillionths_money(trillionths) as
    (trillionths // 1000000000000)::decimal(38, 12)
    + (trillionths % 1000000000000)::decimal(18, 0) * 0.000000000001::decimal(12, 12);
create or replace macro money_of(trillionths) as trillionths / 1e12;
-- `spread_before` for amounts whose product with a time would pass 127 bits.
create or replace macro spread_money_before(amount, from_us, to_us, at_us) as
    case
        when at_us <= from_us then 0::hugeint
        when at_us >= to_us then amount
        else (amount // (to_us - from_us)) * (at_us - from_us)
            + ((amount % (to_us - from_us)) * (at_us - from_us)) // (to_us - from_us)
    end;
-- The part of an integer amount that one of several gets, who stands at [part_until - part, part_until) of `whole`: the
-- parts add up to the amount, whatever they are.
create or replace macro share_before(amount, part, whole) as
    case
        when part <= 0 then 0::hugeint
        when part >= whole then amount
        else round(amount::double * (part::double / whole::double))::hugeint
    end;
create or replace macro share_of(amount, part, part_until, whole) as
    share_before(amount, part_until, whole) - share_before(amount, part_until - part, whole);
-- Where the time that a charge is for ends. A row that is still open has only run up to where the delivery's data end;
-- what was bought covers all of its time.
create or replace macro charged_until_us(category, start_at, end_at, data_until_at) as
    greatest(
        epoch_us(
            case
                when category <> 'Purchase' and data_until_at > start_at then least(data_until_at, end_at)
                else end_at
            end
        ),
        epoch_us(start_at) + 1
    );
-- How many hours one unit of a billed quantity is; NULL where the unit is no time of a machine or a GPU.
create or replace macro hours_per_unit(unit) as
    case
        when regexp_full_match(lower(unit), '((instance|node|gpu|accelerator)[ -]?)?(hours?|hrs?|h)') then 1.0
        when regexp_full_match(lower(unit), '((instance|node|gpu|accelerator)[ -]?)?(minutes?|mins?)') then 1 / 60.0
        when regexp_full_match(lower(unit), '((instance|node|gpu|accelerator)[ -]?)?(seconds?|secs?|s)') then 1 / 3600.0
    end;
create or replace macro is_gpu_unit(unit) as coalesce(regexp_matches(lower(unit), '^(gpu|accelerator)'), false);
-- The whole of a row's text as a number: sums of it tell whether a set of rows changed, in whatever order they come.
create or replace macro row_number_of(row_text) as md5_number_lower(row_text)::hugeint;
-- The one thing that all say, several joined by '+'; what nobody says is '(none)'.
create or replace macro one_name(names) as
    coalesce(
        nullif(
            array_to_string(
                list_sort(list_distinct(list_filter(names, lambda name: name is not null and name <> '(none)'))), '+'
            ),
            ''
        ),
        '(none)'
    );
-- All tokens of a server: a prefill server counts the prompt and a decode server the answer; of any other both must be known.
create or replace macro total_tokens(server_role, input_tokens, output_tokens) as
    case
        when server_role in ('prefill', 'decode') then coalesce(input_tokens + output_tokens, input_tokens, output_tokens)
        else input_tokens + output_tokens
    end;
create or replace macro digest_of(row_count, hash_sum) as concat(row_count, '-', coalesce(hash_sum, 0));
create or replace macro per_million(cost, tokens) as ratio(1e6 * cost, tokens);
-- Tokens per joule are tokens per second per watt.
create or replace macro tokens_per_second_per_megawatt(tokens, energy_joules) as ratio(1e6 * tokens, energy_joules);
-- Reasons that say something of power alone, and nothing of money or tokens.
create or replace macro is_energy_reason(reason) as
    reason in ('no_node_power', 'no_pue', 'no_provisioned_power', 'no_energy_reading', 'module_scope_only')
    or contains(reason, 'energy')
    or contains(reason, 'power');
