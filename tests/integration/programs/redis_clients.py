"""Clients of a real Redis: one waits for a job with BLPOP, others count. The second argument is the port."""

import sys

import green
import redis

import greentrace

port = int(sys.argv[2])


def consumer():
    with redis.Redis(port=port) as client:
        return client.blpop("jobs")


def counter(times):
    with redis.Redis(port=port) as client:
        for _ in range(times):
            client.incr("count")


with redis.Redis(port=port) as client:
    client.flushall()
    waiting = green.spawn(consumer)
    while client.info("clients")["blocked_clients"] < 1:
        green.sleep(0.002)
    greentrace.mark("waits for a job")
    for each in [green.spawn(counter, 25) for _ in range(8)]:
        green.join(each)
    client.rpush("jobs", "sweep")
    print(green.join(waiting), client.get("count"))
    with client.lock("broom", timeout=5):
        print(client.exists("broom"))
