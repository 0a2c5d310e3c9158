"""Commands: one file a sub-command; importing this room costs nothing heavy."""
