"""Policy routing: rules, routes, and looking up which route a packet would take."""
