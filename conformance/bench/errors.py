"""What the benchmark refuses."""


class BenchError(ValueError):
    """A benchmark that cannot be run as asked, or a check that failed; its message is one line for the user."""
