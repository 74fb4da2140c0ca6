"""The rules of a decode in numpy alone, each the twin of a module of `reference`."""
