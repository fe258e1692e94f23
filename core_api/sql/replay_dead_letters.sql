SELECT event_id FROM bus.replay_dead_letters(%(consumer)s, %(event_ids)s)
