// SPDX-License-Identifier: Apache-2.0

package report

// contender is a row of the tables.
type contender struct {
	name  string // of the sub-benchmark
	label string
	// peer is the module that the row measures, "" for k8sretry and for what is no library.
	peer string
	note string
}

// usual and best are the ends of the names of the two forms.
const (
	best  = "-best"
	usual = "-usual"
)

const (
	prepared = "k8sretry-prepared"
	options  = "k8sretry-options"
	byHand   = "hand"
	alone    = "plain"
)

// The modules whose versions the documents list.
const (
	cenkalti  = "github.com/cenkalti/backoff/v5"
	avast     = "github.com/avast/retry-go/v5"
	sethvargo = "github.com/sethvargo/go-retry"
	failsafe  = "github.com/failsafe-go/failsafe-go"
	gax       = "github.com/googleapis/gax-go/v2"
	wait      = "k8s.io/apimachinery"
	clientGo  = "k8s.io/client-go"
)

// Peers lists the modules of the libraries that are compared.
var Peers = []string{cenkalti, avast, sethvargo, failsafe, gax, wait, clientGo}

var contenders = []contender{
	{name: alone, label: "the call alone"},
	{name: byHand, label: "a loop written by hand"},
	{name: prepared, label: "**k8sretry**, policy prepared"},
	{name: options, label: "**k8sretry**, three options in the call"},
	{name: "cenkalti" + best, label: "cenkalti/backoff, best", peer: cenkalti, note: "options and schedule prepared for one goroutine; they cannot be shared"},
	{name: "cenkalti" + usual, label: "cenkalti/backoff, usual", peer: cenkalti},
	{name: "avast" + best, label: "avast/retry-go, best", peer: avast, note: "the retrier is prepared together with its context; calls with different contexts cannot share it"},
	{name: "avast" + usual, label: "avast/retry-go, usual", peer: avast},
	{name: "sethvargo" + best, label: "sethvargo/go-retry, best", peer: sethvargo, note: "with a custom schedule of one value, created for each call because a call consumes it"},
	{name: "sethvargo" + usual, label: "sethvargo/go-retry, usual", peer: sethvargo},
	{name: "failsafe" + best, label: "failsafe-go, best", peer: failsafe, note: "the executor is prepared for one context; the function gets no Execution"},
	{name: "failsafe" + usual, label: "failsafe-go, usual", peer: failsafe, note: "the policy is prepared in this form, too"},
	{name: "gax" + best, label: "gax-go Invoke, best", peer: gax, note: "with a custom Retryer that limits the attempts"},
	{name: "gax" + usual, label: "gax-go Invoke, usual", peer: gax, note: "without a limit on attempts"},
	{name: "wait" + best, label: "apimachinery wait, best", peer: wait},
	{name: "wait" + usual, label: "apimachinery wait, usual", peer: wait},
	{name: "onerror" + best, label: "client-go OnError, best", peer: clientGo, note: "ignores the context while it sleeps"},
	{name: "onerror" + usual, label: "client-go OnError, usual", peer: clientGo, note: "ignores the context while it sleeps"},
}

// Contenders returns the names of all contenders' sub-benchmarks.
func Contenders() []string {
	names := make([]string, len(contenders))
	for i, c := range contenders {
		names[i] = c.name
	}
	return names
}

// situation is a column of the overview and of README.md, and a table of RESULTS.md.
type situation struct {
	name  string // of the benchmark
	label string
	unit  string // what decides: Time or Waiting
	about string
}

var situations = []situation{
	{"Success", "success", Time, "The call succeeds at once."},
	{"NotFound", "NotFound", Time, "The call fails with a permanent error, which must be returned at once."},
	{"TwoFailures", "two failures, then success", Time, "Two 503 answers before a success: three calls and two waits of 1 ns. \"The call alone\" is the three calls."},
	{"Get", "Get over loopback", Time, "A Get of a ConfigMap through a real clientset; an HTTP server in the same process answers from memory."},
	{"Waiting", "waiting call", Waiting, "Bytes of heap and stack, including the goroutine, of a call that waits for its retry, with 10,000 such calls at the same time and each contender in its own process. \"The call alone\" is a goroutine that waits for a timer. The function in this benchmark uses almost no stack; a goroutine that has made a real request holds at least 4 KB of stack with any of these libraries."},
}

// part is a table about one piece of the work.
type part struct {
	label, about string
	columns      []situation // the label is the column's title
	rows         []contender // the name is appended to the column's
	ours         []string
}

var parts = []part{
	{
		label: "Classifying a failure",
		about: "`Classify` returns class, outcome, status code and Retry-After; the others return true or false. The predicates are nine predicates of apimachinery, joined with `||`.",
		columns: []situation{
			{name: "Classify/503", label: "bare 503", unit: Time},
			{name: "Classify/wrapped503", label: "wrapped 503", unit: Time},
			{name: "Classify/refused", label: "connection refused", unit: Time},
		},
		rows: []contender{
			{name: byHand, label: "the check of the loop written by hand"},
			{name: "k8sretry-Classify", label: "**k8sretry** Classify"},
			{name: "k8sretry-IsRetryable", label: "**k8sretry** IsRetryableK8sError, IsRetryableConnectionError"},
			{name: "predicates", label: "predicates of apimachinery", peer: wait},
		},
		ours: []string{"k8sretry-Classify", "k8sretry-IsRetryable"},
	},
	{
		label:   "The three delays of one call, with jitter",
		about:   "Schedules with state are created for each call. failsafe-go does not export its calculation.",
		columns: []situation{{name: "Delay", label: "three delays", unit: Time}},
		rows: []contender{
			{name: byHand, label: "the loop written by hand"},
			{name: "k8sretry", label: "**k8sretry** Exponential"},
			{name: "cenkalti", label: "cenkalti/backoff ExponentialBackOff", peer: cenkalti},
			{name: "avast", label: "avast/retry-go BackOffDelay and RandomDelay", peer: avast},
			{name: "sethvargo", label: "sethvargo/go-retry NewExponential, capped, jittered", peer: sethvargo},
			{name: "gax", label: "gax-go Backoff", peer: gax},
			{name: "wait", label: "apimachinery wait.Backoff", peer: wait},
		},
		ours: []string{"k8sretry"},
	},
	{
		label:   "NotFound, with a condition of the caller",
		about:   "The condition is the check of the loop written by hand. The classifier decides by it, too.",
		columns: []situation{{name: "Condition", label: "NotFound", unit: Time}},
		rows: []contender{
			{name: byHand, label: "the loop written by hand"},
			{name: prepared, label: "**k8sretry**, policy prepared with WithRetryIf"},
			{name: "k8sretry-WithRetryIf", label: "**k8sretry**, WithMaxRetries and WithRetryIf in the call"},
			{name: "k8sretry-WithClassifier", label: "**k8sretry**, WithMaxRetries and WithClassifier in the call"},
			{name: "avast", label: "avast/retry-go, prepared with its context", peer: avast},
		},
		ours: []string{prepared, "k8sretry-WithRetryIf", "k8sretry-WithClassifier"},
	},
}
