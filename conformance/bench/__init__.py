"""The benchmark: what a decode costs, and how far that is from what the machine allows."""
