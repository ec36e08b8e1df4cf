"""record: the wing that runs inside the traced program.

names < recorder (native | twin) < runtimes < session. In: a hub that turns. Out: records in a ring. Needs the standard
library and greenlet alone, and never imports `greentrace.replay`. It may lose, it never lies, it never breaks.
"""
