"""Speculative decoding loop over exported engines."""
