"""`status --watch`: keys in, frames out. What is drawn is worked out without a terminal.

`view` is what the person has chosen, `draw` a frame, `keyboard` the terminal's input, `loop` waits
for keys, samples and the terminal's size. Samples and rates are in `operate`.
"""
