"""Measurements and pictures of the documentation, each a command."""
