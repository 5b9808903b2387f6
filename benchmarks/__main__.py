"""All benchmarks, each in a process of its own: ``python -m benchmarks``, or some: ``python -m benchmarks NAME...``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    folder = Path(__file__).resolve().parent
    known = sorted(path.stem for path in folder.glob("*.py") if path.stem not in ("__main__", "common"))
    wanted = sys.argv[1:] or known
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        print(f"error: no benchmark '{unknown[0]}'; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    codes = [subprocess.call([sys.executable, "-m", f"benchmarks.{name}"], cwd=folder.parent) for name in wanted]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
