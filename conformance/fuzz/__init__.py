"""Everything that is read from outside, fed with what nobody should send."""
