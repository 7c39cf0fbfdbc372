"""Print every setting with its type, range, default and meaning."""

import argparse

from src.settings import describe

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m src.settings", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print docs/settings.md")
    describe.show(describe.markdown() if parser.parse_args().markdown else None)
