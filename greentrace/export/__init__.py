"""export: pictures and texts of a replay, for a report, a terminal or another program.

In:  a replay.Trace and a moment. Out: text, JSON, DOT, SVG or PNG. Never: a look at raw events, or at a terminal.

    words       times, counts and places as people read them
    looks       what a moment of a greenlet looks like
    cells       a window over a trace, cut into cells of equal width
    cast        who is drawn in a wait-for graph, and what hangs together
    text        verdict, dump, wait-for graph and tree as plain text
    documents   the JSON contracts of `check` and `dump`
    wait_graph  the wait-for graph as DOT
    render      DOT to SVG and PNG
    timeline    the time-line as SVG and text
    views       any of them by its name, in any format that it has
"""
