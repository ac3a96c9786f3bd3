"""One parser under libFuzzer, guided by what the program's own code has covered; `tools.fuzz --atheris` starts it.

    python -m tools.fuzz_guided TARGET RUNS FOLDER

FOLDER holds the inputs to begin with, and gets those that reached something new. An escape ends the process with a
traceback and status 77, and its input is kept there as crash-*.
"""

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found, unused-ignore]

# Only what is imported in here is instrumented; dnspython, the second opinion, would only slow it down.
with atheris.instrument_imports(include=["stubresolver"]):
    from tests.fuzz.targets import TARGETS


def main(name: str, runs: int, folder: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    (target,) = (target for target in TARGETS if target.name == name)
    arguments = [sys.argv[0], f"-runs={runs}", "-max_len=4096", f"-artifact_prefix={folder}/", str(folder)]
    atheris.Setup(arguments, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
