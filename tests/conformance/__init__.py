"""One suite for every method: what each does, measured, and what an operator may rely on."""
