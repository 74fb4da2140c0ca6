"""Published checkpoints: models under their published key names, and how their files are read."""
