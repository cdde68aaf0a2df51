"""The state: queue, accounts, objects, cache; and the pure values that both sides need."""
