-- A page is made at a user's 10th, 110th, 210th … rating, of the newest chart.
WITH numbered AS (
  SELECT
    ratings.user_id,
    ratings.known_at,
    ROW_NUMBER() OVER (PARTITION BY ratings.user_id ORDER BY ratings.known_at, ratings.item_id) AS number
  FROM ratings
)
SELECT numbered.user_id, numbered.known_at AS asked_at, MAX(weeks.taken_at) AS taken_at
FROM numbered
INNER JOIN weeks ON weeks.taken_at <= numbered.known_at
WHERE numbered.number % 100 = 10
GROUP BY numbered.user_id, numbered.known_at
