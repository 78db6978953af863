-- The newest statement of a client and the limit it stands under; one row for each statement.
SELECT
  CAST(statements.id AS BIGINT) AS client_id,
  statements.known_at AS event_at,
  statements.known_at AS known_at,
  CAST(statements.pay_status AS BIGINT) AS pay_status,
  CAST(statements.pay_amt AS DOUBLE) AS paid_ntd,
  CAST(statements.bill_amt AS DOUBLE) / clients.limit_bal AS utilisation,
  clients.limit_bal AS limit_ntd,
  CASE WHEN clients.limit_bal < 100000.0 THEN 1 WHEN clients.limit_bal < 240000.0 THEN 2 ELSE 3 END AS limit_band
FROM statements
INNER JOIN clients ON clients.id = statements.id AND clients.known_at <= statements.known_at
