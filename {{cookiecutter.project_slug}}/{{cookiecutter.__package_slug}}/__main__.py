"""Lets `python -m {{ cookiecutter.__package_slug }}` do what the command does."""

from .cli import app

app()
