"""``python -m exporter`` is ``ml-exporter``."""

from exporter.cli import main

if __name__ == "__main__":
    main()
