// SPDX-License-Identifier: Apache-2.0

package report

import "strings"

// The markers between which generated text stands.
const (
	Begin = "<!-- benchmarks:begin -->"
	End   = "<!-- benchmarks:end -->"
)

// Splice returns the document with the text between its markers replaced, and
// whether it has both markers, in order, once. Everything else stays as it is.
func Splice(document, text string) (string, bool) {
	head, rest, ok := strings.Cut(document, Begin)
	if !ok {
		return document, false
	}
	_, tail, ok := strings.Cut(rest, End)
	if !ok || strings.Contains(tail, Begin) || strings.Contains(tail, End) {
		return document, false
	}
	return head + Begin + "\n" + strings.TrimSpace(text) + "\n" + End + tail, true
}
