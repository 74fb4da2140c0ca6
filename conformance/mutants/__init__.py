"""Engines that are one plausible line away from right: the suite must find each of them."""
