"""The `dev` command."""
