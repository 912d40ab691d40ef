"""The node agent: reads meters and token counters and sends them, cumulative, with their timestamps."""
