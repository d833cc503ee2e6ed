"""Put the table of data/bench/cpu.csv into the README, between its two marks."""

import re
from pathlib import Path

import bench

from inception_lab.common import files

ROOT = Path(__file__).resolve().parent.parent
readme = ROOT / "README.md"
table = bench.table(bench.read(ROOT / "data" / "bench" / "cpu.csv"))
text = readme.read_text(encoding="utf-8")
marked = re.sub(r"(<!-- bench -->\n).*?(<!-- /bench -->)", lambda m: f"{m[1]}\n{table}\n{m[2]}", text, flags=re.DOTALL)
files.write(readme, marked.encode())
