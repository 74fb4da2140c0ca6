"""What a program embeds: pipelines, sessions and their results."""
