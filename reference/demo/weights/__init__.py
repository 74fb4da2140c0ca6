"""The shipped weights: what `python -m reference.demo.train` produced, with cards and hashes."""

from pathlib import Path

SHIPPED = Path(__file__).parent
