"""How soon `vipctl watch` has put back what others took away."""
