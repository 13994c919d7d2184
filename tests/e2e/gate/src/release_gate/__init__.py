"""What the release gate is made of: a terminal, Claude Code in it, what reached the model, and the table at the end."""
