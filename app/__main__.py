"""`python -m app` is `candlewick`."""

from app.cli import main

main()
