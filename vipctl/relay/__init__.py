"""The relay: carries what IPVS's sync daemons tell each other, between any number of directors."""
