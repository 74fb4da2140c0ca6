"""The decode: the twin of `reference.decode` over the scores of passes."""
