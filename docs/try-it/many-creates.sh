#!/usr/bin/env bash
# More creates at once than the API server handles: it answers 429, and no create is lost or carried out twice.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms

server "limit?verb=create&in-flight=4&each=100ms"
echo "the API server handles 4 creates at a time, 100 ms each; 30 callers create at once"
callers=()
for i in $(seq 30); do
	curl -sS -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' "$service/api/v1/databases" -d "$(database "db-$i")" >"$dir/code-$i" &
	callers+=($!)
done
wait "${callers[@]}"
echo "answers to the callers:"
cat "$dir"/code-* | sort | uniq -c
echo "creates answered by 429: $([ "$(requests verb=create | grep -c ' 429$')" -ge 10 ] && echo "10 or more")"
echo "databases created: $(requests verb=create | grep -c ' 201$')"
echo "names created twice: $(requests verb=create | grep ' 201$' | sort | uniq -d | wc -l)"
echo "creates with an unknown outcome in the log: $(events k8s_api_call_failed_retrying '.outcome != "not_executed"')"
