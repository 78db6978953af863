-- One row per week and film that was rated in the 60 days before. (likes + 1) / (users + 2) is never 0 (rule of
-- succession).
WITH active AS (
  SELECT weeks.taken_at, COUNT(DISTINCT ratings.user_id) AS users
  FROM weeks
  INNER JOIN ratings
    ON ratings.known_at <= weeks.taken_at
    AND ratings.event_at > weeks.taken_at - INTERVAL 60 DAY
  GROUP BY weeks.taken_at
)
SELECT
  CAST(chart.item_id AS BIGINT) AS item_id,
  chart.taken_at AS event_at,
  chart.taken_at AS known_at,
  (chart.likes_60d + 1.0) / (active.users + 2.0) AS liked_share,
  (chart.likes_60d + 2.75) / (chart.ratings_60d + 5.0) AS like_ratio
FROM chart
INNER JOIN active ON active.taken_at = chart.taken_at
