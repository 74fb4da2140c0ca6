"""Files: paths from outside, reading them with care, writing them whole or not at all."""
