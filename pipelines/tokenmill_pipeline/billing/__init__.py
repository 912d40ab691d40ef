"""Bills and prices: reads what providers send, keeps every row as a charge or as a refusal with its reason."""
