-- fail: what is matched is part of what is known, and what is known part of what is paid
select
    hour_at,
    provider,
    format('{} {} of {}: a part is larger than its whole', bucket, replica, deployment) as detail
from work_economics
where
    gpu_seconds_allocated > gpu_seconds_paid + 1e-6
    or gpu_seconds_serving > gpu_seconds_allocated + 1e-6
    or gpu_seconds_cost_known > gpu_seconds_paid + 1e-6
    or gpu_seconds_token_known > gpu_seconds_allocated + 1e-6
    or gpu_seconds_token_matched > gpu_seconds_token_known + 1e-6
    or gpu_seconds_cost_matched > gpu_seconds_token_matched + 1e-6
    or gpu_seconds_energy_known > gpu_seconds_paid + 1e-6
    or gpu_seconds_energy_matched > gpu_seconds_token_matched + 1e-6
    or cost_matched_input_tokens > input_tokens
    or cost_matched_output_tokens > output_tokens
    or cost_matched_tokens > total_tokens
    or energy_matched_tokens > total_tokens
    or abs(matched_effective_cost) > abs(effective_cost) * (1 + 1e-9)
    or matched_gpu_energy_joules > gpu_energy_joules * (1 + 1e-9)
    or gpu_energy_interpolated_joules > gpu_energy_joules * (1 + 1e-9)
