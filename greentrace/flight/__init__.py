"""Flight: the flight recorder, seen from outside: rings that are watched for ever, and a trace saved when something happens.

    watch        one ring: what calls for a snapshot, and deadlocks, found online
    snapshots    one saved trace of what a ring holds; never too many, never too often
    follower     all rings of a run; `python -m greentrace.flight DIRECTORY ...`

The other half, inside of the program, is greentrace.record.flight. The program pays for nothing but its ring.
"""
