-- Films by their likes in the 60 days before each week's chart, the most liked first.
WITH counted AS (
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
  counted.taken_at,
  counted.item_id,
  counted.ratings_60d,
  counted.likes_60d,
  ROW_NUMBER() OVER (PARTITION BY counted.taken_at ORDER BY counted.likes_60d DESC, counted.item_id) AS place
FROM counted
