package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/report"
	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/scenario"
)

const (
	resultsFile = "RESULTS.md"
	picturesDir = "pictures"
)

// Who is drawn beside the champion and the oracle: the calmest of those without shared
// state, and the peers that do best.
var notable = []string{contender.Champion, "client-go jitter 1.0", "failsafe eager breaker", "failsafe queue and eager breaker"}

// shortList are those who are shown where not everybody is.
var shortList = []string{"k8sretry", "client-go jitter 1.0", "sethvargo", "eager breaker", "queue"}

// writeResults runs everything and writes it down.
func (s *settings) writeResults(t *testing.T, out io.Writer) error {
	if err := os.MkdirAll(picturesDir, 0o755); err != nil {
		return err
	}
	var body strings.Builder
	var missed, lost []string
	table, misses := s.contention(t)
	missed = append(missed, misses...)
	section(&body, contentionName, contentionTitle, table)
	for _, sc := range scenario.All() {
		fmt.Fprintln(out, sc.Name)
		who := s.contenders
		if sc.Shape && len(who) == 0 {
			who = shortList
		}
		r := s.scenario(t, sc, contender.Named(who))
		missed = append(missed, r.misses()...)
		lost = append(lost, r.losses()...)
		section(&body, sc.Name, sc.Title, r.table())
		for j, p := range r.processes {
			file := filepath.Join(picturesDir, fmt.Sprintf("%s-%d.svg", sc.Name, p))
			if err := r.draw(file, j); err != nil {
				return err
			}
			fmt.Fprintf(&body, "[over time, %d processes](%s)%s\n", p, filepath.ToSlash(file), []string{",", ""}[j%2])
		}
		body.WriteString("\n")
	}
	fmt.Fprintln(out, "other loads")
	body.WriteString(s.otherLoads(t))
	fmt.Fprintln(out, "other seeds")
	body.WriteString(s.otherSeeds(t))

	var head strings.Builder
	fmt.Fprintf(&head, introduction, s.runs, s.seed, s.seed+uint64(s.runs)-1, contender.Champion, contender.Champion)
	head.WriteString("## Targets missed\n\n")
	bullets(&head, missed, "None.")
	fmt.Fprintf(&head, "## Lost\n\nWhat a peer does better than %s, beyond a tenth, among those that bring at least as many calls through, but for half a percent:\n\n", contender.Champion)
	bullets(&head, lost, "Nothing.")
	foot := fmt.Sprintf("%s, %s. Peers: %s.\n", runtime.Version(), runtime.GOARCH, strings.Join(peers(), ", "))
	return os.WriteFile(resultsFile, []byte(head.String()+body.String()+foot), 0o644)
}

const introduction = `# A herd of clients and an API server in trouble

Written by ` + "`go run ./cmd/herd -write`" + `; what is simulated stands in [doc.go](doc.go). 2000 clients share their state in 20
processes or in 2000 ("a / b"); one figure is for both, where the calls of a process share nothing. Medians of %d runs, seeds %d to %d. The
oracle knows the server and sends each request when its turn has come: nobody can do better. ✗ marks where %s misses a target.
In the pictures %s is the bold line and the oracle the dashed one.

`

func section(b *strings.Builder, name, title string, table report.Table) {
	fmt.Fprintf(b, "## %s\n\n%s.\n\n%s\n", name, title, table.Markdown())
}

func bullets(b *strings.Builder, lines []string, none string) {
	if len(lines) == 0 {
		b.WriteString(none + "\n\n")
		return
	}
	for _, line := range lines {
		b.WriteString("- " + line + "\n")
	}
	b.WriteString("\n")
}

// losses are where a peer is better that brings as many calls through.
func (r *result) losses() (lost []string) {
	i := slices.IndexFunc(r.outcomes, func(o outcome) bool { return o.contender.Name == contender.Champion })
	if i < 0 {
		return nil
	}
	champion := r.outcomes[i]
	through := func(f scenario.Figures) float64 { return f.Success }
	for _, m := range r.scenario.Metrics {
		for j, p := range r.processes {
			own := champion.median(j, m.Of)
			best, by := own, ""
			for _, o := range r.outcomes {
				if o.contender.Ours || o.median(j, through) < champion.median(j, through)-0.005 {
					continue
				}
				if x := o.median(j, m.Of); m.Better(x, best) {
					best, by = x, o.contender.Name
				}
			}
			if by != "" && math.Abs(own-best) > 0.1*math.Abs(own) && m.Format(own) != m.Format(best) {
				lost = append(lost, fmt.Sprintf("%s, %d processes, %s: %s, %s has %s.", r.scenario.Name, p, m.Name, m.Format(own), by, m.Format(best)))
			}
		}
	}
	return lost
}

// draw shows what happened over time with one number of processes.
func (r *result) draw(file string, j int) error {
	load := report.Panel{Title: "load: attempts per second, and what the server can take (dotted)"}
	good := report.Panel{Title: "goodput: calls that end well, per second"}
	queue := report.Panel{Title: "queue: requests that wait in the server"}
	seconds := int(r.setup.Length.Seconds())
	thin := 0
	// What is drawn later lies above.
	all := append(slices.Clone(r.outcomes), r.oracle)
	slices.SortStableFunc(all[:len(r.outcomes)], func(a, b outcome) int { return rank(a) - rank(b) })
	for _, o := range all {
		style := report.Grey
		switch {
		case o.contender.Name == contender.Champion:
			style = report.Bold
		case slices.Contains(notable, o.contender.Name):
			style = report.Thins[thin]
			thin++
		case o.contender.Name != r.oracle.contender.Name:
			continue
		}
		lines := [3]report.Line{}
		for i := range lines {
			lines[i] = report.Line{Name: o.contender.Name, Style: style}
		}
		for _, s := range o.records[min(j, len(o.figures)-1)].Seconds[:seconds] {
			lines[0].Values = append(lines[0].Values, float64(s.Attempts))
			lines[1].Values = append(lines[1].Values, float64(s.Good))
			lines[2].Values = append(lines[2].Values, float64(s.Queue))
		}
		for i, p := range []*report.Panel{&load, &good, &queue} {
			p.Lines = append(p.Lines, lines[i])
		}
	}
	limit := report.Line{Name: "capacity", Style: report.Dotted}
	for i := range seconds {
		limit.Values = append(limit.Values, r.scenario.Limit(r.setup, i))
	}
	load.Lines = append(load.Lines, limit)
	load.Top = 6 * slices.Max(limit.Values)
	title := fmt.Sprintf("%s, %d processes", r.scenario.Title, r.processes[j])
	return report.Draw(file, title, []report.Panel{load, good, queue})
}

func rank(o outcome) int { return slices.Index([]string{contender.Champion}, o.contender.Name) }

// otherLoads shows that the picture is the same from a third of the capacity to nearly
// all of it.
func (s *settings) otherLoads(t *testing.T) string {
	var b strings.Builder
	b.WriteString("## Other loads\n\nS2 at other loads: recovery, and success of the calls made in the trouble.\n\n")
	brownOut := scenario.All()[0]
	contenders := contender.Named(shortList)
	var table report.Table
	head := []string{"20 / 2000 processes"}
	rows := make([][]string, len(contenders)+1)
	for _, load := range []float64{0.3, 0.5, 0.7, 0.9} {
		head = append(head, fmt.Sprintf("%.0f %%: recovery", 100*load), "success")
		other := *s
		other.runs, other.load = 1, load
		r := other.scenario(t, brownOut, contenders)
		for i, o := range append([]outcome{r.oracle}, r.outcomes...) {
			if rows[i] == nil {
				rows[i] = []string{o.contender.Name}
			}
			for _, m := range brownOut.Metrics[2:4] {
				rows[i] = append(rows[i], o.plain(m))
			}
		}
	}
	table.Row(head...)
	for _, row := range rows {
		table.Row(row...)
	}
	b.WriteString(table.Markdown() + "\n")
	return b.String()
}

// otherSeeds shows how much is chance.
func (s *settings) otherSeeds(t *testing.T) string {
	const seeds = 5
	var b strings.Builder
	fmt.Fprintf(&b, "## Chance\n\nFrom the least to the greatest figure of %s with seeds 1 to %d.\n\n", contender.Champion, seeds)
	other := *s
	other.runs, other.seed = seeds, 1
	for _, sc := range scenario.All() {
		if sc.Shape {
			continue
		}
		var table report.Table
		r := other.scenario(t, sc, contender.Named([]string{contender.Champion + "$"}))
		head := []string{sc.Name}
		for _, m := range sc.Metrics {
			head = append(head, m.Name)
		}
		table.Row(head...)
		for j, p := range r.processes {
			row := []string{fmt.Sprintf("%d processes", p)}
			for _, m := range sc.Metrics {
				least, most := math.Inf(1), math.Inf(-1)
				for _, f := range r.outcomes[0].figures[j] {
					least, most = min(least, m.Of(f)), max(most, m.Of(f))
				}
				row = append(row, m.Format(least)+" to "+m.Format(most))
			}
			table.Row(row...)
		}
		b.WriteString(table.Markdown() + "\n")
	}
	return b.String()
}

// peers are the versions of those compared.
func peers() (names []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, dep := range info.Deps {
		for _, peer := range []string{"avast/retry-go", "cenkalti/backoff", "sethvargo/go-retry", "failsafe-go/failsafe-go", "googleapis/gax-go", "k8s.io/client-go"} {
			if strings.Contains(dep.Path, peer) {
				names = append(names, dep.Path+" "+dep.Version)
			}
		}
	}
	return names
}
