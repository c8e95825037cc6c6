#!/usr/bin/env bash
# The API server does the work, and its answer is lost: the work must not be done twice, nor be called a failure.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms

server "fail?verb=create&code=drop&after-commit=true"
echo "the answer to the next create is lost"
echo "the caller's answer: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-1')"
echo "what the API server was asked (0: no answer):"
requests resource=databases
echo "the same POST again, same key: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-1')"
echo "the same POST again, another key: $(ask POST databases -d "$(database orders)" -H 'Idempotency-Key: monday-2')"

server "fail?verb=delete&code=drop&after-commit=true"
echo "the answer to the next delete is lost"
echo "the caller's answer: $(ask DELETE databases/orders)"
echo "and then: $(ask GET databases/orders)"
