"""A Flask application on the runtime's own WSGI server, and its visitors with requests, all in one process.

The first visitor stays behind the door until the other three stand before it; then the trace gets its mark.
"""

import threading

import green

import greentrace

if green.name == "gevent":
    from gevent.pywsgi import WSGIServer
else:
    import eventlet
    from eventlet import wsgi

import requests
from flask import Flask, jsonify

VISITORS = 4
app = Flask("visits")
door = threading.Lock()
arrived = []
left = []


@app.get("/visit/<int:number>")
def visit(number):
    arrived.append(number)
    with door:
        while len(arrived) < VISITORS:
            green.sleep(0.002)
        if not left:
            greentrace.mark("at the door")
        left.append(number)
    return jsonify(number=number, before=len(left) - 1)


@app.get("/broken")
def broken():
    raise KeyError("on purpose")


def serve():
    if green.name == "gevent":
        server = WSGIServer(("127.0.0.1", 0), app, log=None, error_log=None)
        server.start()
        return server.server_port, server.stop
    listener = eventlet.listen(("127.0.0.1", 0))
    serving = green.spawn(wsgi.server, listener, app, log_output=False)
    return listener.getsockname()[1], serving.kill


def ask(port, number):
    return requests.get(f"http://127.0.0.1:{port}/visit/{number}", timeout=30).json()


app.logger.disabled = True
port, stop = serve()
answers = [green.join(each) for each in [green.spawn(ask, port, number) for number in range(VISITORS)]]
print(sorted(answer["number"] for answer in answers), sorted(answer["before"] for answer in answers))
print(requests.get(f"http://127.0.0.1:{port}/broken", timeout=30).status_code)
stop()
