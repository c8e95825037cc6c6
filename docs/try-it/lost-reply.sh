#!/usr/bin/env bash
# The API server carries out a write, and its answer is lost: the write must not be repeated, and the caller must not get a failure.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms

server "fail?verb=create&code=drop&after-commit=true"
echo "the answer to the next create is lost"
echo "the caller's answer: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-1')"
echo "requests to the API server (0: no answer):"
requests resource=databases
echo "the same POST again, same key: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-1')"
echo "the same POST again, another key: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-2')"

server "fail?verb=delete&code=drop&after-commit=true"
echo "the answer to the next delete is lost"
echo "the caller's answer: $(ask DELETE databases/orders)"
echo "a later GET: $(ask GET databases/orders)"
