"""Which replica holds which GPU of this node, by configuration or by the processes on it."""
