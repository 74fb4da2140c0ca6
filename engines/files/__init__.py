"""The file system: paths from outside, careful reading, and writing a file as a whole or not at all."""
