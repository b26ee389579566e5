"""Check the answers once more: a replayed file of answers skips the check that follows the questions."""

# {{ cookiecutter | checked }}
