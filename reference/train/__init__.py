"""Training of tokenizers, transformers and what drafts for them, on any examples."""
