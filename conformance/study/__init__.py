"""The study: every setting of the demo, measured against autoregressive decoding on the same prompts."""
