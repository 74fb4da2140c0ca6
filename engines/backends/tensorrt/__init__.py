"""TensorRT and TensorRT for RTX, on CUDA by its own bindings."""
