#!/usr/bin/env bash
# Runs all scripts in parallel and compares their output with docs/try-it.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
TRY_IT_BIN=$(mktemp -d)
export TRY_IT_BIN
trap 'rm -rf "$TRY_IT_BIN"' EXIT
go build -o "$TRY_IT_BIN/" ./examples/apiserver ./examples/databases

scripts=(blocked-and-back many-creates lost-reply silent-server read-the-log)
declare -A running
for script in "${scripts[@]}"; do
	"docs/try-it/$script.sh" >"$TRY_IT_BIN/$script.got" 2>&1 &
	running[$script]=$!
done
failed=0
for script in "${scripts[@]}"; do
	exit_code=0
	wait "${running[$script]}" || exit_code=$?
	awk -v begin="\$ docs/try-it/$script.sh" '$0 == begin { on = 1; next } /^```/ { on = 0 } on' docs/try-it.md >"$TRY_IT_BIN/$script.want"
	if [ $exit_code = 0 ] && diff -u --label docs/try-it.md --label output "$TRY_IT_BIN/$script.want" "$TRY_IT_BIN/$script.got"; then
		echo "ok   docs/try-it/$script.sh"
	else
		echo "FAIL docs/try-it/$script.sh (exit code $exit_code)"
		failed=1
	fi
done
exit $failed
