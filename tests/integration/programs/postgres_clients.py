"""Clients of a real PostgreSQL through psycopg2 and a wait callback: two change the same row. The second argument is the DSN.

The first keeps its transaction open until the server says that the second one waits for its lock.
"""

import sys
import threading

import green
import psycopg2
from psycopg2 import extensions

import greentrace

dsn = sys.argv[2]


def wait(connection):
    """What psycopg2 calls instead of blocking the thread."""
    while (state := connection.poll()) != extensions.POLL_OK:
        if state == extensions.POLL_READ:
            green.wait_read(connection.fileno())
        else:
            green.wait_write(connection.fileno())


def ask(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def first(change):
    connection = psycopg2.connect(dsn)
    ask(connection, "UPDATE accounts SET balance = balance + 10")
    change.wait()
    connection.commit()
    connection.close()


def second():
    connection = psycopg2.connect(dsn)
    ask(connection, "UPDATE accounts SET balance = balance * 2")
    connection.commit()
    connection.close()


extensions.set_wait_callback(wait)
main = psycopg2.connect(dsn)
main.autocommit = True
ask(main, "DROP TABLE IF EXISTS accounts")
ask(main, "CREATE TABLE accounts AS SELECT 1 AS balance")
commit = threading.Event()
one = green.spawn(first, commit)
while ask(main, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") != [(1,)]:
    green.sleep(0.005)
two = green.spawn(second)
while ask(main, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != [(1,)]:
    green.sleep(0.005)
greentrace.mark("waits for a row")
commit.set()
green.join(one)
green.join(two)
print(ask(main, "SELECT balance FROM accounts"))
try:
    ask(main, "SELECT 1 / 0")
except psycopg2.Error as error:
    print(type(error).__name__)
main.close()
