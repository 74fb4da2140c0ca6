"""The worlds of which whole decodes are judged: held-out prompts, and whether an image shows what one asks for."""
