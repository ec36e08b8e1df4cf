"""discovery: what already hangs is found at once.

    heap, frames --> builtin, eventlet, gevent, standard --> facts --> recorder

In:  a program in which greenlets may live already, just after its types were hooked and its own thread is traced.
Out: every greenlet that lives, its state, what it waits for (all alternatives, until when), who holds what, every listener and timer:
told as facts, waits *inferred*, holders *observed* where the interpreter itself shows them and *inferred* where the code only looks so.
Whoever can hold something without showing it leaves that thing open: nothing is concluded from it.
Never: a reference that outlives the look, a switch, a change of the program, but for Conditions that kept methods without hooks.
"""
