"""A day of traffic on pools of workers that scale by `actors.scaling`, simulated."""
