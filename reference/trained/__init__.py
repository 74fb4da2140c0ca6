"""Folders of models that were trained on captioned pictures: what a training leaves, and a bundle is built from."""

from mulo_sd.reference.trained.folder import Trained, load_trained
from mulo_sd.reference.trained.write import describe_again, describe_trained, is_described, save_trained

__all__ = ["Trained", "describe_again", "describe_trained", "is_described", "load_trained", "save_trained"]
