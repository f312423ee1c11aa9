"""`python -m federation_core` is `fedcore`."""

from .cli import main

main()
