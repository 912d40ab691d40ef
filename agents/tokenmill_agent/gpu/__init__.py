"""The meters: GPUs as NVML reads them, simulated ones, and the integral of their power."""
