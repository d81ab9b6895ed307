"""All benchmarks one after the other, or those that are named: python -m benchmarks evaluation scrape

Each runs in a process of its own. Compare figures of one run only: machines differ, and so do their moods.
"""

from __future__ import annotations

import subprocess
import sys
import time

ORDER = (
    "profile_and_drift",
    "evaluation",
    "ingestion",
    "scrape",
    "memory",
    "segments",
    "exposition",
    "predictions",
    "journal",
    "decoding",
    "http_server",
    "drift_methods",
    "quality",
    "history",
    "concept",
    "block_nulls",
    "comparison",
    "estimation",
    "multivariate",
    "coverage",
    "alerting_rules",
    "notification_storm",
    "notification_faults",
)
"""What takes longest comes last."""


def main() -> int:
    """Run the benchmarks and return how many failed."""
    chosen = sys.argv[1:] or list(ORDER)
    unknown = [name for name in chosen if name not in ORDER]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known are {', '.join(ORDER)}", file=sys.stderr)
        return 2
    failed = 0
    for name in chosen:
        print(f"\n## {name}\n", flush=True)
        start = time.perf_counter()
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
