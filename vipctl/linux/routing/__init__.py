"""Policy routing: rules, routes, and the way that a packet would take."""
