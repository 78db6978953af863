-- The moment at which each week's chart is taken: the week's first rating, which the ratings tell, so that no clock is
-- needed.
SELECT MIN(ratings.known_at) AS taken_at
FROM ratings
GROUP BY DATE_TRUNC('week', ratings.known_at)
