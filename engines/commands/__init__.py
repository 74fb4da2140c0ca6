"""Parts of the commands: options, runs over many prompts, scorers' layouts, and pictures of a decode."""
