"""Whole sets of answers for property-based tests, and the mistakes that can be made in them."""

from collections.abc import Iterable

from combinations import CONTEXT, OPTIONS, is_possible
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import task_queue_answers

few = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

AWKWARD = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs", "Zl", "Zp"),
        exclude_characters=task_queue_answers.BIDI_CONTROLS,
    )
    | st.sampled_from("\"'\\{}#:%$`&|<>-"),
    min_size=1,
    max_size=500,
).filter(lambda text: not list(task_queue_answers.text_problems("", text)))

ANSWERS = st.fixed_dictionaries(
    {
        "project_name": AWKWARD,
        "project_slug": st.from_regex(r"my(-[a-z0-9]{1,9}){1,3}", fullmatch=True),
        "project_description": AWKWARD,
        "author_name": AWKWARD,
        "author_email": st.emails().filter(lambda text: "{{" not in text and "}}" not in text),
        **{name: st.sampled_from(values) for name, values in OPTIONS.items()},
    }
).filter(is_possible)


def _wrong(names: Iterable[str], *values: object) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(
        st.sampled_from(list(names)), st.sampled_from(values), min_size=1, max_size=1
    )


# None of them leads out of a test's own folder, for the day on which the check is broken.
MISTAKES = st.one_of(
    _wrong(
        task_queue_answers.TEXTS, "", " ", "a\nb", "\0", "\u202e", "\ud800", "x" * 501, "{{", None
    ),
    _wrong(["project_slug"], "Order", "../evil", "a/b", ".", "-", "a" * 41, "json", "celery"),
    _wrong(["author_email"], "ada", "ada@", "@example.com", "ada@localhost"),
    _wrong(OPTIONS, "kafka", "", None, 7),
    _wrong(["__package_slug"], "../evil", "json"),
    st.sampled_from(
        [
            # Any other engine may settle what the rule names, so that nothing is wrong with it.
            {"task_engine": OPTIONS["task_engine"][0]}
            | {name: value for name, value in rule.items() if name != "because"}
            for rule in CONTEXT["_impossible"]
        ]
    ),
)
