"""The kernels of the backend torch-cuda, in Triton."""
