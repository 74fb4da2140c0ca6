"""Calibration: the fastest tau, radius and neighbours that keep a stated agreement with a bundle's own target."""
