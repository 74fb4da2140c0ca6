"""The rules of a decode in numpy alone; each module is the twin of one in `reference`, slots aside."""
