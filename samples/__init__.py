"""samples: small programs, one symptom each. Every one says at its top what one should see.

Run one as it is (`python samples/echo_server.py gevent`) or recorded (`greentrace record samples/echo_server.py gevent`).
"""
