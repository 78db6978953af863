-- One row per client and month from the third on, asked on the 4th when the month's statement is there: 1 where the next
-- statement shows two months of delay or more. Good news and bad become known together, with that statement. The file's
-- code 1 (one month late) stands in its last month only, so that it cannot tell the outcomes of six months apart.
WITH history AS (
  SELECT MIN(statements.event_at) AS first_at
  FROM statements
)
SELECT
  CAST(followed.id AS BIGINT) AS client_id,
  followed.event_at + INTERVAL 1 MONTH + INTERVAL 3 DAY AS predict_at,
  CAST(CASE WHEN followed.next_pay_status >= 2 THEN 1 ELSE 0 END AS BIGINT) AS outcome,
  followed.next_known_at AS known_at,
  CASE WHEN clients.sex = 1 THEN 'male' ELSE 'female' END AS sex,
  CASE clients.education
    WHEN 1 THEN 'graduate school' WHEN 2 THEN 'university' WHEN 3 THEN 'high school' ELSE 'other'
  END AS education,
  CASE
    WHEN clients.age < 30 THEN 'below 30' WHEN clients.age < 40 THEN '30 to 39' WHEN clients.age < 50 THEN '40 to 49'
    ELSE '50 and over'
  END AS age_band
FROM history
INNER JOIN followed ON followed.event_at >= history.first_at + INTERVAL 2 MONTH
INNER JOIN clients ON clients.id = followed.id
