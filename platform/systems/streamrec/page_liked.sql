-- One row per page and film on it, of the 100 most liked films of the chart that the user has not rated. Both outcomes
-- become known together, 7 days on, and only once the ratings reach that far.
WITH newest AS (
  SELECT MAX(ratings.known_at) AS last_known_at
  FROM ratings
)
SELECT
  CAST(pages.user_id AS BIGINT) AS user_id,
  CAST(chart.item_id AS BIGINT) AS item_id,
  pages.asked_at AS predict_at,
  CAST(CASE WHEN own.rating >= 4 AND own.event_at <= pages.asked_at + INTERVAL 7 DAY THEN 1 ELSE 0 END AS BIGINT) AS outcome,
  pages.asked_at + INTERVAL 7 DAY AS known_at,
  users.gender AS gender,
  CASE WHEN users.age < 25 THEN 'under_25' WHEN users.age < 40 THEN '25_to_39' ELSE 'from_40' END AS age_band,
  STRING_SPLIT(films.class, ' ')[1] AS genre
FROM pages
CROSS JOIN newest
INNER JOIN chart ON chart.taken_at = pages.taken_at AND chart.place <= 100
INNER JOIN users ON users.user_id = pages.user_id
INNER JOIN films ON CAST(films.item_id AS BIGINT) = chart.item_id
LEFT JOIN ratings AS own ON own.user_id = pages.user_id AND own.item_id = chart.item_id
WHERE pages.asked_at <= newest.last_known_at - INTERVAL 7 DAY
  AND (own.event_at IS NULL OR own.event_at > pages.asked_at)
