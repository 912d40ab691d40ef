-- One row per hour, five-minute slot, counter series and piece: increases between the piece's own looks, and the edges.
-- A piece is a slot, or a part of one where the clock stepped back. Counters that were absent are NULL.
create table if not exists measured.series_tokens (
    hour_at timestamp not null,
    slot tinyint not null,
    piece smallint not null,
    series_key bigint not null,
    look_count bigint not null,
    failed_look_count bigint not null,
    first_at_us bigint,
    last_at_us bigint,
    first_monotonic_us bigint,
    last_monotonic_us bigint,
    first_counters struct(input bigint, cached bigint, output bigint, requests bigint, draft bigint, accepted bigint, ttft_count bigint, inter_token_count bigint, ttft double, inter_token double, prefill double, decode double),
    last_counters struct(input bigint, cached bigint, output bigint, requests bigint, draft bigint, accepted bigint, ttft_count bigint, inter_token_count bigint, ttft double, inter_token double, prefill double, decode double),
    increases struct(input bigint, cached bigint, output bigint, requests bigint, draft bigint, accepted bigint, ttft_count bigint, inter_token_count bigint, ttft double, inter_token double, prefill double, decode double),
    appeared struct(input bigint, cached bigint, output bigint, requests bigint, draft bigint, accepted bigint, ttft_count bigint, inter_token_count bigint, ttft double, inter_token double, prefill double, decode double),
    known_us bigint not null,
    set_aside_us bigint not null,
    set_aside_tokens bigint not null,
    reasons varchar[]
);
