"""Print every setting with its type, range, default and meaning."""

from src.settings import describe

if __name__ == "__main__":
    describe.show()
