"""A user's folder of captioned pictures as training examples.

`open_folder.open_folder` is where it begins. This file imports nothing: the processes that decode pictures
(`reader.py`) come through it, and must not load torch.
"""
