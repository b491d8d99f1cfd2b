"""Print the lowest versions that pyproject.toml promises, as constraints for pip.

    python .ci/lowest.py EXTRA ... >lowest.txt

Those of what is needed at run time and of the extras named, with the extras that these consist of.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def lowest(requirements: list[str]) -> Iterator[str]:
    """Yield a constraint for each requirement."""
    for requirement in requirements:
        match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?(?:>=([\w.]+))?", requirement)
        assert match, requirement
        name, extras, version = match.groups()
        if name == PROJECT["name"]:
            for extra in extras.split(","):
                yield from lowest(PROJECT["optional-dependencies"][extra])
        else:
            assert version, f"{requirement} names no lowest version"
            yield f"{name}=={version}"


if __name__ == "__main__":
    own = f"{PROJECT['name']}[{','.join(sys.argv[1:])}]"
    print(*lowest([*PROJECT["dependencies"], own]), sep="\n")
