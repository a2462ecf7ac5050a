"""Compare the digests with those of the file, or write them: ``python -m benchmarks.golden [--write]``."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import golden


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the file; new bits are a line in CHANGELOG.md")
    if parser.parse_args(arguments).write:
        golden.FILE.write_text(json.dumps(golden.digests(), indent=1) + "\n")
        print(f"{len(golden.kept())} digests written to {golden.FILE}")
        return 0
    found = golden.differences()
    for name in found:
        print(f"differs: {name}")
    print(f"{len(found)} of {len(golden.kept())} digests differ from those of {golden.FILE}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
