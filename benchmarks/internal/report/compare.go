// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// Defeat is a library that does better than k8sretry in one situation.
type Defeat struct {
	Situation, Ours, Peer string
	benchmark             string
	OursAt, PeerAt        Summary
	Unit, Note            string
}

// String tells the defeat in one line.
func (d Defeat) String() string {
	s := fmt.Sprintf("%s: %s takes %s, %s takes %s", d.Situation, plainText(d.Ours), amount(d.OursAt.Median, d.Unit), d.Peer, amount(d.PeerAt.Median, d.Unit))
	if d.Note != "" {
		s += " (" + d.Note + ")"
	}
	return s
}

// Defeats lists every library that is clearly ahead of k8sretry: a prepared
// policy is compared with the best forms, options in the call with the usual
// ones. What lies within the noise is no defeat, as it is no victory.
func (r *Results) Defeats() []Defeat {
	var defeats []Defeat
	compare := func(s situation, title string, ours, peer contender) {
		a, okA := r.Get(s.name+"/"+ours.name, s.unit)
		b, okB := r.Get(s.name+"/"+peer.name, s.unit)
		if okA && okB && a.Beyond(b) {
			defeats = append(defeats, Defeat{
				Situation: title, Ours: ours.label, Peer: peer.label, benchmark: s.name,
				OursAt: a, PeerAt: b, Unit: s.unit, Note: peer.note,
			})
		}
	}
	for _, s := range situations {
		for _, peer := range contenders {
			switch {
			case peer.peer == "":
			case strings.HasSuffix(peer.name, best):
				compare(s, s.label, find(contenders, prepared), peer)
			default:
				compare(s, s.label, find(contenders, options), peer)
			}
		}
	}
	for _, p := range parts {
		for _, s := range p.columns {
			for _, peer := range p.rows {
				for _, ours := range p.ours {
					if peer.peer != "" {
						compare(s, p.label+", "+s.label, find(p.rows, ours), peer)
					}
				}
			}
		}
	}
	return defeats
}

func find(list []contender, name string) contender {
	for _, c := range list {
		if c.name == name {
			return c
		}
	}
	panic("no contender " + name)
}

// Target is one promise about speed, and what was measured.
type Target struct {
	Name     string
	Measured float64
	Limit    float64
	Unit     string // "×", Time, Allocs or Waiting
	Missing  bool   // not measured
}

// Pass reports whether the promise is kept.
func (t Target) Pass() bool { return !t.Missing && t.Measured <= t.Limit }

// String returns the line that -check prints.
func (t Target) String() string {
	verdict := "PASS"
	if !t.Pass() {
		verdict = "LOSS"
	}
	measured := "not measured"
	if !t.Missing {
		measured = fmt.Sprintf("%.2f", t.Measured)
	}
	return fmt.Sprintf("%s  %-64s %12s  (at most %g %s)", verdict, t.Name, measured, t.Limit, t.Unit)
}

// Targets returns the promises about speed. They are no tests: a timing that
// fails on a busy machine says nothing about the code.
func (r *Results) Targets() []Target {
	targets := []Target{
		r.ratio("success, policy prepared, to the loop by hand", "Success", prepared, 1.5),
		r.ratio("success, three options in the call, to the loop by hand", "Success", options, 2),
		r.absolute("NotFound, policy prepared", "NotFound/"+prepared, Time, 45),
		r.absolute("NotFound, three options in the call", "NotFound/"+options, Time, 45),
		r.ratio("two failures then success, policy prepared, to the loop by hand", "TwoFailures", prepared, 1.3),
		r.ratio("two failures then success, three options in the call, to the loop by hand", "TwoFailures", options, 1.4),
		r.absolute("a waiting call, policy prepared", "Waiting/"+prepared, Waiting, 3400),
		r.absolute("a waiting call, three options in the call", "Waiting/"+options, Waiting, 4000),
	}
	for _, s := range []string{"Success", "NotFound"} {
		for _, c := range []string{prepared, options} {
			targets = append(targets, r.absolute(s+", "+c, s+"/"+c, Allocs, 0))
		}
	}
	for _, option := range []string{"WithRetryIf", "WithClassifier"} {
		targets = append(targets,
			r.absolute("NotFound, "+option+" in the call", "Condition/k8sretry-"+option, Time, 60),
			r.absolute("NotFound, "+option+" in the call", "Condition/k8sretry-"+option, Allocs, 0))
	}
	for _, s := range parts[0].columns {
		targets = append(targets,
			r.absolute("Classify, "+s.label, s.name+"/k8sretry-Classify", Time, 40),
			r.absolute("Classify, "+s.label, s.name+"/k8sretry-Classify", Allocs, 0))
	}
	return targets
}

func (r *Results) ratio(name, benchmark, ours string, limit float64) Target {
	ratio, ok := r.Ratio(benchmark+"/"+ours, benchmark+"/"+byHand, Time)
	return Target{Name: name, Measured: ratio, Limit: limit, Unit: "×", Missing: !ok}
}

func (r *Results) absolute(name, benchmark, unit string, limit float64) Target {
	s, ok := r.Get(benchmark, unit)
	return Target{Name: name, Measured: s.Median, Limit: limit, Unit: unit, Missing: !ok}
}
