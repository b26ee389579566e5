"""Arguments of a task as a command line has them: name=value."""

import inspect
import json
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError


def keywords(task: str, signature: inspect.Signature, texts: list[str]) -> dict[str, Any]:
    """Raises SystemExit, with what is wrong, when they do not fit the signature."""
    found: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise SystemExit(f"{text!r} is no argument: write name=value, for example name=Ada.")
        if name in found:
            raise SystemExit(f"{name} is given twice.")
        found[name] = value
    try:
        signature.bind(**found)
        return {name: typed(_kind(signature, name), text) for name, text in found.items()}
    except (TypeError, ValueError) as error:
        raise SystemExit(f"{task}{signature}: {error}") from None


def _kind(signature: inspect.Signature, name: str) -> Any:
    parameter = signature.parameters.get(name)
    # A task may leave its types out, or take any name.
    if parameter is None or parameter.annotation is parameter.empty:
        return Any
    return parameter.annotation


def typed(kind: Any, text: str) -> Any:
    """The text as a value of the parameter's type. Raises ValueError when it is none."""
    if kind is str:
        return text
    try:
        accepted: Any = TypeAdapter(kind)
    except PydanticUserError:  # a TypedDict, on Python 3.11
        return json.loads(text)
    try:
        return accepted.validate_json(text)
    except ValidationError:
        return accepted.validate_python(text)
