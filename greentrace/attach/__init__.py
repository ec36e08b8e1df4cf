"""Attach, the outside half: gets a piece of Python run inside a CPython program that never heard of us (Linux, 3.11 to 3.14).

In:  a pid and the text of a program. Out: the text has run in the target, once, and everything borrowed from the target was
     given back; or one `CannotAttach` that says why not.
Never: a word about what the text does (that is the inside half's), a debugger, a file of ours in the target's process,
       a package besides the standard library.

    target       what keeps us out of a process, said in three parts; outside: what can be told without entering
    entry        the way in: remote_exec where the target has it, else the injector
    injector     sends a thread of the target on an errand; errand: how a thread is sent, and comes home by itself
    answers      the private directory in which the injected code leaves its answer
    processor    the table of this machine's processor; symbols, elf, mappings: where things stand in the target's memory
"""
