-- One row per week and film that was rated in the 60 days before, taken at the week's first rating: a moment that the
-- ratings tell, so that no clock is needed. (likes + 1) / (users + 2) is never 0 (rule of succession).
WITH weeks AS (
  SELECT MIN(ratings.known_at) AS taken_at
  FROM ratings
  GROUP BY DATE_TRUNC('week', ratings.known_at)
),
active AS (
  SELECT weeks.taken_at, COUNT(DISTINCT ratings.user_id) AS users
  FROM weeks
  INNER JOIN ratings
    ON ratings.known_at <= weeks.taken_at
    AND ratings.event_at > weeks.taken_at - INTERVAL 60 DAY
  GROUP BY weeks.taken_at
),
counted AS (
  SELECT
    weeks.taken_at,
    ratings.item_id,
    COUNT(*) AS ratings_60d,
    COUNT(CASE WHEN ratings.rating >= 4 THEN 1 END) AS likes_60d
  FROM weeks
  INNER JOIN ratings
    ON ratings.known_at <= weeks.taken_at
    AND ratings.event_at > weeks.taken_at - INTERVAL 60 DAY
  GROUP BY weeks.taken_at, ratings.item_id
)
SELECT
  CAST(counted.item_id AS BIGINT) AS item_id,
  counted.taken_at AS event_at,
  counted.taken_at AS known_at,
  (counted.likes_60d + 1.0) / (active.users + 2.0) AS liked_share,
  (counted.likes_60d + 2.75) / (counted.ratings_60d + 5.0) AS like_ratio
FROM counted
INNER JOIN active ON active.taken_at = counted.taken_at
