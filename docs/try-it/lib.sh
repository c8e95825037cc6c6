# Shared by the scripts, which source it: an in-memory API server, the databases service in
# front of it, and helper functions. Everything is stopped and removed at the end.
set -euo pipefail
export LC_ALL=C
for tool in go curl jq; do
	command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 2; }
done

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
log=$dir/app.log
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT

# TRY_IT_BIN is the directory of the programs if they are already built.
bin=${TRY_IT_BIN:-$dir}
[ -x "$bin/databases" ] || (cd "$repository" && go build -o "$bin/" ./examples/apiserver ./examples/databases)

# until_true COMMAND... waits until the command succeeds, and fails after 20 s.
until_true() {
	for _ in $(seq 400); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.05
	done
	echo "timed out waiting for: $*" >&2
	exit 1
}

# start [FLAG...] starts both programs; the flags are for the service.
start() {
	"$bin/apiserver" -dir "$dir" -resource databases.example.dev/v1/databases/Database &
	until_true test -s "$dir/control"
	"$bin/databases" -kubeconfig "$dir/kubeconfig" -listen 127.0.0.1:0 "$@" >"$log" &
	until_true grep -q '"service_started"' "$log"
	service=http://$(grep '"service_started"' "$log" | jq -r .address)
}

# server PATH controls the API server; requests QUERY prints the requests it received.
server() { curl -fsS -X POST "$(cat "$dir/control")/$1"; }
requests() { curl -fsS "$(cat "$dir/control")/requests?$1"; }

# ask METHOD PATH [CURL FLAG...] prints the status code; the body is in $dir/body.
ask() { curl -sS -o "$dir/body" -w '%{http_code}\n' -X "$1" -H 'Content-Type: application/json' "$service/api/v1/$2" "${@:3}"; }

database() { echo "{\"name\":\"$1\",\"engine\":\"postgres\",\"version\":\"16\",\"storage\":\"10Gi\"}"; }

# events NAME [FILTER] prints the number of such events in the log.
events() { grep "\"event\":\"$1\"" "$log" | jq -c "select(${2:-true})" | wc -l; }
