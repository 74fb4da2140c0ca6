"""The modules that become graphs, one file a kind."""
