"""The ingress inside Triton Inference Server: a decoupled model of its Python backend, which owns a session."""
