"""How long a scrape of 100,000 series waits while rows come in.

python -m benchmarks.scrape
"""

from __future__ import annotations

import threading
import time
import uuid

import numpy as np
import requests

from benchmarks.ingestion import encode_table
from benchmarks.running import configuration, rows, running
from exporter.formats import ARROW, JSON

MODELS, SECONDS = 44, 15.0


def many_models() -> str:
    """So many models of 60 columns that all of them together expose 100,000 series."""
    one = configuration(
        max_series="20000", bins="{features: 60}", drift="{methods: [ks, js, psi, wasserstein, chi2]}"
    )
    block = one.split("  m:\n", 1)[1]
    return "models:\n" + "".join(f"  m{number}:\n{block}" for number in range(MODELS))


def scrape(url: str, stop: float, times: list[float], gzip: bool) -> None:
    session = requests.Session()
    headers = {"Accept-Encoding": "gzip" if gzip else "identity", "Accept": "text/plain;version=0.0.4"}
    while time.perf_counter() < stop:
        start = time.perf_counter()
        with session.get(f"{url}/metrics", headers=headers, stream=True) as answer:
            while answer.raw.read(1 << 20):
                pass
        times.append(time.perf_counter() - start)
        time.sleep(0.05)


def push(url: str, body: bytes, content_type: str, stop: float, count: list[int]) -> None:
    session = requests.Session()
    while time.perf_counter() < stop:
        headers = {"Content-Type": content_type, "Idempotency-Key": uuid.uuid4().hex}
        answer = session.post(f"{url}/api/v1/models/m0/batches", data=body, headers=headers)
        if answer.status_code == 202:
            count[0] += 1
        else:
            time.sleep(0.01)


def main() -> None:
    with running(many_models()) as exporter:
        table = rows(3000, seed=0)
        body = encode_table(table, ARROW)
        for number in range(MODELS):
            for path in ("baselines", "batches"):
                requests.post(
                    f"{exporter.url}/api/v1/models/m{number}/{path}",
                    data=body,
                    headers={"Content-Type": ARROW},
                ).raise_for_status()
        time.sleep(5)
        page = requests.get(f"{exporter.url}/metrics", headers={"Accept-Encoding": "identity"}).content
        series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
        print(f"{series:,} series, {len(page) / 1e6:.1f} MB")
        for name, content_type, size in (
            ("nothing", ARROW, 0),
            ("Arrow, 1,000-row batches", ARROW, 1000),
            ("JSON, 1,000-row batches (1.2 MB)", JSON, 1000),
        ):
            stop = time.perf_counter() + SECONDS
            times: list[float] = []
            count = [0]
            threads = [threading.Thread(target=scrape, args=(exporter.url, stop, times, True))]
            if size:
                sent = encode_table(rows(size, seed=1), content_type)
                threads += [
                    threading.Thread(target=push, args=(exporter.url, sent, content_type, stop, count))
                ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            quantiles = 1e3 * np.quantile(times, (0.5, 0.99, 1.0))
            print(f"while ingesting {name:<34} {count[0] * size / SECONDS:>9,.0f} rows/s")
            p50, p99, longest = quantiles
            print(f"  scrape p50 {p50:5.1f} ms  p99 {p99:5.1f} ms  max {longest:5.1f} ms", end="  ")
            print(f"(p99 {p99 / 50:.2f} of 50 ms)", flush=True)


if __name__ == "__main__":
    main()
