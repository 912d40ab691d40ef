"""The demo: two invented nodes, a broker, the pipeline and its tables, on one machine and without a network."""
