package k8sretry

import (
	"net/http/httptrace"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Over HTTP/2, one request may look for a connection twice when several wait for a new
// one. Only a second connection is a sign that client-go has repeated the request.
func TestTwoLooksForAConnectionAreNoRepetition(t *testing.T) {
	w := newRecord(VerbDelete)
	w.GetConn("")
	w.GetConn("")
	w.GotConn(httptrace.GotConnInfo{})
	assert.False(t, w.repeatedUnseen())
	w.GotConn(httptrace.GotConnInfo{})
	assert.True(t, w.repeatedUnseen())
}

// A watch that ended too early is asked again, as any lost connection of a read.
func TestAnEndedWatchIsAskedAgain(t *testing.T) {
	assert.True(t, Classify(errWatchEnded).Retryable(VerbWatch))
}
