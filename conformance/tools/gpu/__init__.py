"""The parts of `measure_gpu`: what only a GPU shows."""
