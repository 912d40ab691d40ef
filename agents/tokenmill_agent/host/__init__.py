"""The rest of the node: what CPU, module or machine draw, as the kernel or the management controller tells it."""
