"""What somebody has for a time, unless they renew it: where that is kept in this service."""

#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] %}
from .database_leases import AWAY, Lease, keep, kept
#{% endif %}
#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}
from .redis_leases import AWAY, Lease, keep, kept
#{% endif %}

__all__ = ["AWAY", "Lease", "keep", "kept"]
