"""Hypothesis strategies, one module for each domain; every value they build is valid."""
