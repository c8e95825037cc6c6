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
	fmt.Fprintf(&b, "%d LISTs at once, %v each, by a user with one seat of Priority and Fairness and no queue before it, on a real\n"+
		"kube-apiserver whose etcd takes %v for each. Everybody waits 1 s to 10 s, the peers until the call's time is over,\n"+
		"k8sretry for as many retries as the preset has. The counts are those of the server\n"+
		"(`cd e2e && go run ./cmd/fairness` writes this).\n\n", fairness.Calls, fairness.Limit, fairness.Holds)
	b.WriteString("| | served | requests | of them rejected | last one served |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		name, mark := r.Name, ""
		switch {
		case r.Limiterd:
			mark = "**"
		case r.Bare && !r.Ours:
			name += ", client-go's own repetitions off"
		}
		fmt.Fprintf(&b, "| %s | %s%d %%%s | %d | %s%d%s | %.1f s |\n", name, mark, 100*r.Served/r.Calls, mark,
			r.Rejected+r.Accepted, mark, r.Rejected, mark, r.Last.Round(100*time.Millisecond).Seconds())
	}
	return b.String()
}

// judge says in what k8sretry with a limiter was not the best.
func judge(rows []row) (err error) {
	for _, own := range rows {
		if !own.Limiterd {
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
