"""Laws that ask an engine about one thing on purpose, which decodes would meet too rarely to tell right from wrong."""
