"""Where this node stands, as its cloud and its cluster tell it."""
