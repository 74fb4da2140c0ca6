"""Passes of the transformers: slots, logits of one decode, passes that several decodes share."""
