// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8sretry/k8sretry/benchmarks/herd/internal/contender"
)

// The command is run in benchmarks/herd; the law and its page are in the module above.
const (
	lawDir   = "../../internal/limiter"
	lawPage  = "../../docs/overload.md"
	lawBegin = "<!-- law:begin -->\n"
	lawEnd   = "<!-- law:end -->\n"
)

// rule is a constant of the law, or a rule without one, and how to take it away.
type rule struct {
	name, value, decides string
	file, old, without   string // a line of the source and what replaces it
	instead              string // what the table says about that
}

// rules are those of the law. TestRulesAreThoseOfTheLaw compares them with the source.
var rules = []rule{
	{"`manyFailures`", "8", "failures in a row that are no chance: 0.4⁸ is less than one in a thousand", "law.go", "manyFailures = 8 ", "manyFailures = 1 << 30 ", "any number"},
	{"`fewFailures`", "4", "failures over as many seconds, the same for a process of few calls", "law.go", "fewFailures  = 4 ", "fewFailures  = 1000 ", "any number"},
	{"`maxPause`", "20 s", "the longest pause, spread by 0.5 to 1.5", "law.go", "maxPause     = 20 * time.Second", "maxPause     = 5 * time.Second", "5 s"},
	{"`rateShare`", "0.85", "of the successes per second, after a 429 to a lone request", "law.go", "rateShare    = 0.85", "rateShare    = 1.0", "1"},
	{"`growth`", "0.02", "of a limit that a 429 has set, times the square of the seconds", "law.go", "growth       = 0.02", "growth       = 0.0001", "none"},
	{"`recent`", "10 s", "how long successes are counted, and how long a 429 limits", "law.go", "recent       = 10 * time.Second", "recent       = 1 * time.Second", "1 s"},
	{"`loneShare`", "16", "successes that make one 429 to a lone request an accident", "law.go", "loneShare    = 16", "loneShare    = 1", "1"},
	{"`manyQueued`", "10", "queued calls that show that a process makes many calls", "law.go", "manyQueued   = 10", "manyQueued   = 1 << 30", "any number"},
	{"`neverLate`", "1 s", "no answer is late before", "latency.go", "neverLate  = time.Second", "neverLate  = 1000 * time.Hour", "nothing is late"},
	{"`lateFactor`", "10", "times the usual, below which no answer is late", "latency.go", "lateFactor = 10 ", "lateFactor = 1 ", "1"},
	{"`adaptTime`", "10 min", "in which another latency becomes usual", "latency.go", "adaptTime  = 10 * time.Minute", "adaptTime  = time.Second", "1 s"},
	{"refused connections", "3/2", "of the pause, while connections are refused", "law.go", "about = about * 3 / 2", "about = about * 1", "1"},
	{"chance before", "", "lost connections and 5xx are no sign before eight for two minutes after single failures that a success followed", "law.go", "!byChance && ", "!(byChance && false) && ", "four over four seconds are one"},
	{"slow with every request", "", "late answers that come no sooner with few attempts in flight are no sign, if many calls are queued", "latency.go", "return s.few >= fewFailures", "return false", "they are one"},
	{"order of answers", "", "a late answer is no sign if a request that began later was answered before", "limiter.go", "s.overtaken = time.Duration(k.newest.Load()) > began", "_ = began", "it is one"},
}

// ablationScenarios are those with targets.
const ablationScenarios = "S2,S2s,S3,S4,S5,slow-lists,refused,webhook,leases,nested,chance,stragglers,unanswered,slow,unanswered-alone"

// ablate runs the scenarios without each rule of the law and prints the targets that are then
// missed. With -write it writes the table into docs/overload.md.
func (s *settings) ablate(out io.Writer) error {
	base, err := s.missedWith(rule{})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "with all rules: %s\n", strings.Join(base, "; "))
	var table strings.Builder
	table.WriteString("| constant | value | what it decides | instead | targets missed then |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rules {
		missed, err := s.missedWith(r)
		if err != nil {
			return err
		}
		missed = slices.DeleteFunc(missed, func(m string) bool {
			return slices.ContainsFunc(base, func(b string) bool { return figureOf(b) == figureOf(m) })
		})
		row := fmt.Sprintf("| %s | %s | %s | %s | %s |\n", r.name, r.value, r.decides, r.instead, shorten(missed))
		fmt.Fprint(out, row)
		table.WriteString(row)
	}
	if !s.write {
		return nil
	}
	page, err := os.ReadFile(lawPage)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(page), lawBegin)
	_, after, ends := strings.Cut(rest, lawEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table", lawPage)
	}
	return os.WriteFile(lawPage, []byte(before+lawBegin+table.String()+lawEnd+after), 0o644)
}

// figureOf is the name of the figure in a line about a missed target.
func figureOf(missed string) string { return missed[:strings.LastIndex(missed, ": ")] }

// shorten makes one cell of the lines about missed targets.
func shorten(missed []string) string {
	if len(missed) == 0 {
		return "none"
	}
	const most = 3
	more := ""
	if len(missed) > most {
		more = fmt.Sprintf("; %d more", len(missed)-most)
		missed = missed[:most]
	}
	return strings.Join(missed, "; ") + more
}

// missedWith builds the command without a rule of the law, and returns the targets that it misses.
func (s *settings) missedWith(r rule) (missed []string, err error) {
	dir, err := os.MkdirTemp("", "herd")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	if r.file != "" {
		path, err := filepath.Abs(filepath.Join(lawDir, r.file))
		if err != nil {
			return nil, err
		}
		source, err := r.source()
		if err != nil {
			return nil, err
		}
		changed := filepath.Join(dir, r.file)
		if err := os.WriteFile(changed, source, 0o600); err != nil {
			return nil, err
		}
		overlay.Replace[path] = changed
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	overlayFile, command := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "herd.exe")
	if err := os.WriteFile(overlayFile, list, 0o600); err != nil {
		return nil, err
	}
	if text, err := exec.Command("go", "build", "-overlay", overlayFile, "-o", command, "./cmd/herd").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	scenarios := ablationScenarios
	if len(s.scenarios) > 0 {
		scenarios = strings.Join(s.scenarios, ",")
	}
	// The exit status says whether a target is missed.
	text, _ := exec.Command(command, "-check", "-scenario", scenarios, "-contender", contender.Main+"$",
		"-seed", fmt.Sprint(s.seed), "-runs", fmt.Sprint(s.runs)).Output()
	if !bytes.Contains(text, []byte("all targets met")) && !bytes.Contains(text, []byte("missed: ")) {
		return nil, fmt.Errorf("without %s the scenarios have no result: %s", r.name, text)
	}
	for line := range strings.Lines(string(text)) {
		if m, ok := strings.CutPrefix(line, "missed: "); ok {
			missed = append(missed, strings.TrimSpace(m))
		}
	}
	return missed, nil
}

// source is the source of the law without the rule.
func (r rule) source() ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(lawDir, r.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(source, []byte(r.old)); n != 1 {
		return nil, fmt.Errorf("%s: %q occurs %d times", r.file, r.old, n)
	}
	return bytes.Replace(source, []byte(r.old), []byte(r.without), 1), nil
}
