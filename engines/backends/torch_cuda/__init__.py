"""Torch on an NVIDIA GPU: passes under CUDA graphs, in fused kernels, sampling beside the logits.

The only package of the engines that imports torch; `open` makes the backend of a bundle, `backend` that of any models.
"""
