"""Every method on the same engine, by the same measures: passes, seconds, score, distance to AR, weights, memory."""
