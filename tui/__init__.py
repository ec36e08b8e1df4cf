"""tui: the windows on a terminal, over a replay.

In:  a replay.Trace, saved or live, and keys. Out: a Textual app. Never: raw events in a pane, or a word to the traced program.

    state      the cursor, the current greenlet and the window, with history; no Textual
    errands    what takes long, in a thread of its own, with progress
    sight      what is known at the cursor: world, graph, findings, where the time went
    scene      what the windows show of that: rows in their order, words
    jumps      where to go next: events, wakers, holders, evidence
    palette    every look's glyph and colours
    lanes      the cells of the time-line as characters
    band       a line that is written in few bytes
    keys       the one table of what can be done
    messages   all messages that widgets post
    pane       the base of all widgets; timeline, greenlets, detail, findings, waits, log, bars, guide draw
    prompt     the line that asks for a text
    takeaway   a view as a file, a stack as text
    settings   what one chooses once and finds again
    moves      every key that goes somewhere
    web        the same in a browser
    app        layout, live ticks, what the widgets' messages do

messages, state, palette, keys, band < lanes, jumps, errands < sight < scene < pane < table < timeline, greenlets, detail, findings, waits,
fds, timers, resources, statistics, log, bars, guide, settings < moves < app; web starts it
"""
