"""Test vectors on disk: an implementation in any language checks itself, stage by stage, without Python."""
