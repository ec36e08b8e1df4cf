"""`python -m greentrace`: the command line."""

from greentrace.cli import main

main()
