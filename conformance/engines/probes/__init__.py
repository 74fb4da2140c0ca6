"""Laws that ask an engine about one thing on purpose, where decodes would meet it too rarely to tell right from wrong."""
