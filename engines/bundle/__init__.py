"""Bundles: folders of graphs with a manifest that says what is in them."""

from mulo_sd.engines.bundle.entries import GraphEntry, TensorEntry
from mulo_sd.engines.bundle.manifest import BundleError, Manifest, TransformerEntry
from mulo_sd.engines.bundle.open import Bundle, open_bundle

__all__ = ["Bundle", "BundleError", "GraphEntry", "Manifest", "TensorEntry", "TransformerEntry", "open_bundle"]
