"""Check the answers once more: replaying old answers skips the check after the questions."""

# {{ cookiecutter | checked }}
