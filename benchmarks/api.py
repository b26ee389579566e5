"""What the HTTP API costs: `uv run python benchmarks/api.py`, on a machine that is idle."""

import os
import subprocess
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parent.parent
DRIVER = Path(__file__).parent / "api_driver.py"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = cookiecutter(str(TEMPLATE), no_input=True, output_dir=folder)
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        subprocess.run(
            ["uv", "run", "--quiet", "python", str(DRIVER)],
            cwd=project,
            env=environment | {"PYTHONPATH": f"{project}/tests"},
            check=True,
        )


if __name__ == "__main__":
    main()
