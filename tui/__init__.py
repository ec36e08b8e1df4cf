"""tui: the windows on a terminal, over a replay.

In:  a replay.Trace, saved or live, and keys. Out: a Textual app. Never: raw events in a pane, or a word to the traced program.

    state      the cursor, the current greenlet and the window, with history; no Textual
    scene      what the cursor sees: world, graph, findings, rows
    jumps      where to go next: events, wakers, holders, evidence
    palette    every look's glyph and colours
    lanes      the cells of the time-line as characters
    keys       the one table of what can be done
    messages   all messages that widgets post
    pane       the base of all widgets; timeline, greenlets, detail, findings, waits, log, bars, guide draw
    prompt     the line that asks for a text
    app        layout, live ticks, and the one place where the cursor is moved

messages, state, palette, keys < lanes, jumps < scene < pane < timeline, greenlets, detail, findings, waits, log, bars, guide < app
"""
