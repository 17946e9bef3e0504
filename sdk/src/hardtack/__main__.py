"""`python -m hardtack`."""

from hardtack.cli.main import main

main()
