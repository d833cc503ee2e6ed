"""Put the table of data/bench/cpu.csv into docs/speed.md, between its two marks."""

from pathlib import Path

import bench

from inception_lab.common import files

ROOT = Path(__file__).resolve().parent.parent
page = ROOT / "docs" / "speed.md"
table = bench.table(bench.read(ROOT / "data" / "bench" / "cpu.csv"))
files.write(page, files.between(page, "<!-- bench -->", "<!-- /bench -->", table).encode())
