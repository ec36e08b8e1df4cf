"""Fork: a process forks, and parent and child go on with greenlets of their own.

What one should see: two processes in one trace. The child starts with what the parent had at the fork, works with `in_child`
greenlets on its own hub, and ends with exit code 7; the parent works meanwhile with `in_parent` and collects the code.
"""

import os

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line


def in_parent(number):
    rt.sleep(0.02)
    return number


def in_child(number):
    rt.sleep(0.02)
    return number * 10


def main():
    rt.wait(rt.spawn(in_parent, 0))
    pid = os.fork()
    function = in_parent if pid else in_child
    working = [rt.spawn(function, number) for number in range(3)]
    total = sum(rt.wait(each) for each in working)
    print(f"{'the parent' if pid else 'the child'} counts {total}", flush=True)
    if not pid:
        os._exit(7)
    print("exit code of the child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    options = command_line(__doc__)
    rt = choose(options.runtime)
    main()
