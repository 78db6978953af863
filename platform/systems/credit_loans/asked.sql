-- Every loan that a customer with a past asked for, with what was known once it was approved: those to be scored, and
-- those before. First loans are no part of it: nobody is scored at one.
SELECT
  CAST(loans.systemloanid AS BIGINT) AS loan_id,
  loans.customer_id,
  loans.known_at,
  loans.loannumber,
  loans.loanamount,
  loans.totaldue,
  loans.termdays
FROM loans
UNION ALL
SELECT
  CAST(past_loans.systemloanid AS BIGINT) AS loan_id,
  past_loans.customer_id,
  past_loans.known_at,
  past_loans.loannumber,
  past_loans.loanamount,
  past_loans.totaldue,
  past_loans.termdays
FROM past_loans
WHERE past_loans.loannumber >= 2
