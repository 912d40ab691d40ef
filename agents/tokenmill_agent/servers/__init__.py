"""Inference servers as this node sees them: which answer, what they count, and whose process they are."""
