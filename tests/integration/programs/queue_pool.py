"""SQLAlchemy's QueuePool with a single connection that four greenlets want; the last one's patience ends."""

import threading

import green
from sqlalchemy import create_engine, text
from sqlalchemy.exc import TimeoutError
from sqlalchemy.pool import QueuePool

import greentrace

arguments = {"check_same_thread": False}
patient = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=60, connect_args=arguments)
hasty = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05, connect_args=arguments)
asked = []
release = threading.Event()


def query(number):
    asked.append(number)
    with patient.connect() as connection:
        if number == 0:
            release.wait()
        return connection.execute(text("SELECT :n * 2"), {"n": number}).scalar()


each = [green.spawn(query, number) for number in range(4)]
while len(asked) < 4:
    green.sleep(0.002)
# They have all parked: between asking and that nobody gives the thread away.
greentrace.mark("wants a connection")
release.set()
print([green.join(one) for one in each])
with hasty.connect():
    try:
        hasty.connect()
    except TimeoutError as error:
        print(type(error).__name__)
