-- slipway: contract
-- This release does without the column. 1.1.0 does not: it must run nowhere any more.
alter table products drop column origin;
