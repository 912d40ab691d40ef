"""Invented nodes: GPUs and servers whose counters follow a load that depends on nothing but a seed and the time."""
