"""Planted defects: each law of the rules finds the one that breaks it."""
