-- Every statement that has been followed by another, beside what that one shows and when it became known.
SELECT
  past.id,
  past.event_at,
  past.pay_status,
  following.pay_status AS next_pay_status,
  following.known_at AS next_known_at
FROM statements AS past
INNER JOIN statements AS following
  ON following.id = past.id
  AND following.event_at = past.event_at + INTERVAL 1 MONTH
