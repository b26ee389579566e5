"""Who names the broker alone gets results on the same server, one database on."""

import pytest

from {{ cookiecutter.__package_slug }}.settings import Settings


@pytest.mark.parametrize(
    ("broker", "results"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/1"),
        ("rediss://:pw@host/4?ssl_cert_reqs=none", "rediss://:pw@host/5?ssl_cert_reqs=none"),
        ("redis://redis/15", "redis://redis/0"),
        ("redis://redis", "redis://redis/1"),
        ("redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("memory://", "cache+memory://"),
    ],
)
def test_results_go_to_the_server_of_the_broker(
    monkeypatch: pytest.MonkeyPatch, broker: str, results: str
) -> None:
    monkeypatch.delenv("CELERY_RESULT_BACKEND", raising=False)
    monkeypatch.setenv("CELERY_BROKER_URL", broker)

    assert Settings(_env_file=None).celery_result_backend == results
