"""The executable specification of MuLo-SD, in eager PyTorch."""
