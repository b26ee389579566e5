"""The smallest job there is."""


def greet(name: str) -> str:
    return f"Hello, {name}!"
