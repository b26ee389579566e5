"""Which tasks the API offers, under which path, and what each accepts: its function's signature."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    create_model,
    model_validator,
)

TASKS = f"{__name__.split('.')[0]}.tasks."
# Tasks that callers may not submit, beside those that take what JSON cannot hold.
NOT_OFFERED: set[str] = set()
# Where the path should differ from the task's name; email.send_bulk is email/send-bulk by itself.
#{% if not (cookiecutter.include_examples or cookiecutter.include_aiocache) %}
PATHS: dict[str, str] = {}
#{% endif %}
#{% if cookiecutter.include_examples or cookiecutter.include_aiocache %}
PATHS: dict[str, str] = {
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    "images.resize": "image/resize",
    "images.thumbnail": "image/thumbnail",
    "images.thumbnails": "image/process-batch",
    "etl.run": "data/etl",
    "etl.aggregate": "data/aggregate",
    "reports.cleanup": "scheduled/cleanup",
    "reports.daily": "scheduled/daily-report",
    "reports.sync": "scheduled/sync",
    #{% endif %}
    #{% if cookiecutter.include_aiocache %}
    "pages.fetch": "data/query",
    #{% endif %}
    #{% if cookiecutter.include_examples or cookiecutter.include_aiocache %}
}
#{% endif %}
# What the description and the page suggest; a task that is not here is described all the same.
EXAMPLES: dict[str, dict[str, Any]] = {
    "hello.greet": {"name": "Ada"},
    #{% if cookiecutter.include_sqlalchemy %}
    "orders.record": {"reference": "A-1", "customer": "Ada", "cents": 1250},
    "orders.confirm": {"reference": "A-1"},
    #{% endif %}
    #{% if cookiecutter.include_aiocache %}
    "pages.fetch": {"url": "https://example.com/"},
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    "email.send": {"to": "ada@example.com", "subject": "Hello", "body": "World"},
    "email.send_bulk": {
        "recipients": ["ada@example.com", "grace@example.com"],
        "subject": "Hello",
        "body": "World",
    },
    "images.resize": {"source": "photo.jpg", "width": 640, "height": 480},
    "images.thumbnail": {"source": "photo.jpg", "size": 128},
    "images.thumbnails": {"sources": ["photo.jpg", "logo.gif"], "size": 128},
    "etl.run": {"source": "orders.csv"},
    "etl.aggregate": {"group_by": "customer", "column": "cents", "function": "sum"},
    "reports.cleanup": {"folder": "staging", "max_age_days": 7},
    "reports.daily": {"day": "2026-11-20"},
    "reports.sync": {"url": "https://example.com/orders.csv"},
    "training.fit": {"epochs": 20},
    "training.predict": {"day": "2026-11-20"},
    #{% endif %}
}


@dataclass(frozen=True)
class Offer:
    """A task that callers may submit."""

    task: str
    # Below /api/. What comes before the slash is a group of tasks.
    path: str
    summary: str
    arguments: type[BaseModel]

    @property
    def group(self) -> str:
        return self.path.partition("/")[0]


def offers(functions: Mapping[str, Callable[..., Any]]) -> list[Offer]:
    """Each task of tasks/, of those with these names and functions, sorted by its path."""
    return sorted(_offers(functions), key=lambda offer: offer.path)


def _offers(functions: Mapping[str, Callable[..., Any]]) -> Iterator[Offer]:
    for name, function in functions.items():
        is_ours = inspect.unwrap(function).__module__.startswith(TASKS)
        if is_ours and name not in NOT_OFFERED:
            path = PATHS.get(name, name.replace(".", "/").replace("_", "-"))
            summary = (inspect.getdoc(function) or name).partition("\n")[0]
            # It takes an exception, for example, and is there for other tasks.
            with suppress(PydanticSchemaGenerationError):
                yield Offer(name, path, summary, _arguments(name, function))


def _arguments(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    signature = inspect.signature(function, eval_str=True)
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        default = ... if parameter.default is parameter.empty else parameter.default
        # Under another name, because a model has attributes of its own, such as `copy`.
        own = f"argument_{parameter.name}"
        fields[own] = _kind(parameter), Field(default, alias=parameter.name)
    configuration = ConfigDict(extra="forbid", allow_inf_nan=False)
    if name in EXAMPLES:
        configuration["json_schema_extra"] = {"examples": [EXAMPLES[name]]}
    title = "".join(word.capitalize() for word in name.replace("_", ".").split("."))
    checks: dict[str, Any] = {"can_be_encoded": model_validator(mode="before")(_encodable)}
    return create_model(
        f"{title}Arguments", __config__=configuration, __validators__=checks, **fields
    )


def _encodable(values: Any) -> Any:
    if isinstance(values, dict):
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a pair of surrogates is no text") from None
    return values


def _kind(parameter: inspect.Parameter) -> Any:
    # A task may leave its types out.
    if parameter.annotation is parameter.empty:
        return Any
    try:
        TypeAdapter(parameter.annotation)
    except PydanticSchemaGenerationError:
        raise
    except PydanticUserError:  # a TypedDict, on Python 3.11
        return Any
    return parameter.annotation
