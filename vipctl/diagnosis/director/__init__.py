"""What ails the whole director, whichever VIP is asked for: a file for each area of checks.

A check is a function from the Site to steps; it has none where nothing of vipctl's depends on it.
"""
