// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/e2e/internal/fairness"
)

type row struct {
	fairness.Contender
	fairness.Result
}

func markdown(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d LISTs start at once, with %v each, by a user with one seat of API Priority and Fairness and no queue in the server, on a real\n"+
		"kube-apiserver whose etcd takes %v for each. Delays are 1 s to 10 s for all; the other libraries retry until the time of the call\n"+
		"is over, k8sretry makes the retries of the preset. The server counts the requests (`cd e2e && go run ./cmd/fairness` writes\n"+
		"this).\n\n", fairness.Calls, fairness.Limit, fairness.Holds)
	b.WriteString("| | calls served | requests | rejected requests | last call served after |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		name, mark := r.Name, ""
		switch {
		case r.WithLimiter:
			mark = "**"
		case r.Bare && !r.Ours:
			name += ", client-go's own retries off"
		}
		fmt.Fprintf(&b, "| %s | %s%d %%%s | %d | %s%d%s | %.1f s |\n", name, mark, 100*r.Served/r.Calls, mark,
			r.Rejected+r.Accepted, mark, r.Rejected, mark, r.Last.Round(100*time.Millisecond).Seconds())
	}
	return b.String()
}

// check returns an error if k8sretry with a Limiter was not the best.
func check(rows []row) (err error) {
	for _, own := range rows {
		if !own.WithLimiter {
			continue
		}
		if own.Served < own.Calls {
			err = errors.Join(err, fmt.Errorf("%s: %d of %d served", own.Name, own.Served, own.Calls))
		}
		for _, peer := range rows {
			if !peer.Ours && own.Rejected >= peer.Rejected {
				err = errors.Join(err, fmt.Errorf("%s: %d rejected, %s: %d", own.Name, own.Rejected, peer.Name, peer.Rejected))
			}
		}
	}
	return err
}

type levelRow struct {
	fairness.Contender
	fairness.Levels
}

func levelsMarkdown(rows []levelRow) string {
	var b strings.Builder
	b.WriteString("The same calls by a user whose one seat is for ConfigMaps alone. Meanwhile the same client reads a Secret 50 times a second, in a priority\n" +
		"level that has room.\n\n")
	b.WriteString("| | reads | failed | p99 before the LISTs | p99 beside them | LISTs served |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %d ms | %d ms | %d %% |\n", r.Name, r.Gets, r.Failed, r.Alone.Milliseconds(), r.Beside.Milliseconds(), 100*r.Herd.Served/r.Herd.Calls)
	}
	return b.String()
}

// checkLevels returns an error if a Limiter delayed the reads by more than a fifth.
func checkLevels(rows []levelRow) (err error) {
	for _, r := range rows {
		if r.WithLimiter && (r.Beside > r.Alone*6/5 || r.Failed > 0) {
			err = errors.Join(err, fmt.Errorf("%s: reads beside an exhausted level: p99 %v, alone %v, %d failed", r.Name, r.Beside, r.Alone, r.Failed))
		}
	}
	return err
}
