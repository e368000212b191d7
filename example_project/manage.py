#!/usr/bin/env python
"""Run administrative tasks of the example project."""

from __future__ import annotations

import os
import sys

INSTALL = "The example needs its extra packages: python -m pip install -e '.[example]'"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import environ  # noqa: F401
        import PIL  # noqa: F401
        import rich  # noqa: F401
        from django.core.management import execute_from_command_line

        import django_jobs  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. {INSTALL}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
