"""The group `vipctl` reads without root: `vipctl watch` has its members' commands run.

`asking` is a member's command: it sends the daemon its words, and the files that it prints to. The
daemon starts `answering`, which looks at what may be asked (`reading`), whoever has asked, runs the
same command, and prints there itself.
"""
