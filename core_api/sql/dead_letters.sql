SELECT event_id, organisation_id, topic, key, attempts, last_error, published_at, given_up_at
FROM bus.dead_letters(%(consumer)s, %(letters_max)s)
