"""How the command line writes: terminal, JSON, lines of text, exit codes."""
