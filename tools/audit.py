"""Audit the packages of this environment for known vulnerabilities: `make audit`.

pip-audit asks the advisory service of PyPI about each package. A package that the service does not
know is an error, although pip-audit passes it. Exit codes: 0 no known vulnerability,
1 known vulnerabilities, 3 the service gave no answer for a package.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

OWN = "sway-gate"
COMMAND = (sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off")
PINNED = ("--disable-pip", "--no-deps", "--requirement")
"""Audit the pinned versions of a file, without installing them."""


def main() -> int:
    packages = installed()
    with TemporaryDirectory() as folder:
        pins = Path(folder, "requirements.txt")
        pins.write_text("\n".join(packages), encoding="utf-8")
        done = subprocess.run([*COMMAND, *PINNED, str(pins)], capture_output=True, text=True)
    if not done.stdout.strip():
        reason = (done.stderr.strip() or "no output").splitlines()[-1]
        print(f"error: pip-audit gave no answer, so nothing was audited: {reason}", file=sys.stderr)
        return 3
    answers = json.loads(done.stdout)["dependencies"]
    bad, missing = [*vulnerable(answers)], [*unknown(answers)]
    print(*bad, *missing, f"{len(answers) - len(missing)} packages audited", sep="\n")
    return 1 if bad else 3 if missing else 0


def installed() -> list[str]:
    """`name==version` of each package except this one.

    The service does not know local versions such as +cpu, which are builds of the same source.
    """
    found = {dist.name: dist.version.partition("+")[0] for dist in distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != OWN)


def vulnerable(answers: list[dict[str, Any]]) -> Iterator[str]:
    for package in answers:
        for known in package.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version"
            yield f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}"


def unknown(answers: list[dict[str, Any]]) -> Iterator[str]:
    for package in answers:
        if "skip_reason" in package:
            yield f"{package['name']}: not audited: {package['skip_reason']}"


if __name__ == "__main__":
    sys.exit(main())
