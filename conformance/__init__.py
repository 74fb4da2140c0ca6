"""Python suite that an optimised path behaves as the reference does."""
