"""tui: the windows on a terminal, over a replay.

In:  a replay.Trace, saved or live, and keys. Out: a Textual app. Never: raw events in a pane, or a word to the traced program.

    state      the cursor, the current greenlet and the window, with history; no Textual
    scene      what the cursor sees: world, graph, findings, rows
    jumps      where to go next: events, wakers, holders, evidence
    palette    every state's glyph, colour and word; the legend
    lanes      the cells of the time-line, computed
    messages   all messages that widgets post
    pane       the base of all widgets; timeline, greenlets, detail, findings, waits, log, bars, guide draw
    app        keys, layout, live ticks

messages, state, palette < lanes, jumps < scene < pane < timeline, greenlets, detail, findings, waits, log, bars, guide < app
"""
