"""runtimes: one adapter for each green-thread runtime, as tables of what its methods mean.

In: a module of a runtime, as soon as it is imported (or was already). Out: hooks in its types, through the recorder's face.
Never: an import of a runtime that the program has not imported.
"""
