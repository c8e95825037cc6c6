package report

// contender is a row of the tables.
type contender struct {
	name  string // of the sub-benchmark
	label string
	// peer is the module it measures, "" for what is no library or ours.
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

// The modules whose versions the tables tell.
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
	{name: "cenkalti" + best, label: "cenkalti/backoff, best", peer: cenkalti, note: "options and schedule kept for one goroutine; they cannot be shared"},
	{name: "cenkalti" + usual, label: "cenkalti/backoff, usual", peer: cenkalti},
	{name: "avast" + best, label: "avast/retry-go, best", peer: avast, note: "retrier kept, and with it its context: calls with contexts of their own cannot share it"},
	{name: "avast" + usual, label: "avast/retry-go, usual", peer: avast},
	{name: "sethvargo" + best, label: "sethvargo/go-retry, best", peer: sethvargo, note: "a schedule written for it, one value, made for each call: a call uses it up"},
	{name: "sethvargo" + usual, label: "sethvargo/go-retry, usual", peer: sethvargo},
	{name: "failsafe" + best, label: "failsafe-go, best", peer: failsafe, note: "executor kept for one context, no Execution handed to the function"},
	{name: "failsafe" + usual, label: "failsafe-go, usual", peer: failsafe, note: "policy prepared in this form too"},
	{name: "gax" + best, label: "gax-go Invoke, best", peer: gax, note: "with a Retryer written for it that limits the attempts"},
	{name: "gax" + usual, label: "gax-go Invoke, usual", peer: gax, note: "has no limit of attempts"},
	{name: "wait" + best, label: "apimachinery wait, best", peer: wait},
	{name: "wait" + usual, label: "apimachinery wait, usual", peer: wait},
	{name: "onerror" + best, label: "client-go OnError, best", peer: clientGo, note: "sleeps without looking at the context"},
	{name: "onerror" + usual, label: "client-go OnError, usual", peer: clientGo, note: "sleeps without looking at the context"},
}

// Contenders returns the names of all contenders' sub-benchmarks.
func Contenders() []string {
	names := make([]string, len(contenders))
	for i, c := range contenders {
		names[i] = c.name
	}
	return names
}

// situation is a column of the README and a table of the full results.
type situation struct {
	name  string // of the benchmark
	label string
	unit  string // what decides: Time or Waiting
	about string
}

var situations = []situation{
	{"Success", "success", Time, "The call succeeds at once."},
	{"NotFound", "NotFound", Time, "The call fails for good and must be returned at once."},
	{"TwoFailures", "two failures, then success", Time, "Two answers 503 before a success: three calls, two waits of 1 ns and what they cost. The call alone stands for the three calls."},
	{"Get", "Get over loopback", Time, "A Get of a ConfigMap through a real clientset; an HTTP server in the same process answers from memory."},
	{"Waiting", "waiting call", Waiting, "Bytes of heap and stack, goroutine included, of a call that waits for its retry: 10,000 of them at the same time, each contender in a process of its own. The call alone is a goroutine that waits for a timer. The function needs next to no stack: who has made a real request holds 4 KB of stack or more, whatever retries it."},
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
		label: "Telling failures apart",
		about: "`Classify` says class, outcome, code and Retry-After; all others say yes or no. The predicates are nine of apimachinery's, joined with `||`.",
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
		about:   "Schedules that hold state begin anew for each call. failsafe-go keeps its calculation to itself.",
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
}
