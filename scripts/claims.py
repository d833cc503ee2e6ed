"""Write the ledger of claims into README.md, after a change of data/reference/claims.csv.

python scripts/claims.py
"""

from pathlib import Path

from inception_lab import claims

if __name__ == "__main__":
    path = Path(__file__).resolve().parent.parent / "README.md"
    path.write_text(claims.with_overview(path.read_text(encoding="utf-8")), encoding="utf-8")
