"""Bundles: folders of graphs with a manifest that says what is in them."""

from engines.bundle.manifest import BundleError, GraphEntry, Manifest, TensorEntry, TransformerEntry
from engines.bundle.open import Bundle, open_bundle

__all__ = ["Bundle", "BundleError", "GraphEntry", "Manifest", "TensorEntry", "TransformerEntry", "open_bundle"]
