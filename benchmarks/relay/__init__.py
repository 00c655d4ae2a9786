"""Connections a second that `vipctl sync` carries, beside plain multicast on a link."""
