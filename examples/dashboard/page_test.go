// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/internal/testkit"
)

// idle returns a demo that makes no operations.
func idle(t *testing.T) *demo {
	d, err := newDemo(1)
	require.NoError(t, err)
	t.Cleanup(d.close)
	return d
}

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8099"+target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func serve(d *demo, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	newPage(d).ServeHTTP(w, r)
	return w
}

func TestThePageHasALabelledSwitchForEachFault(t *testing.T) {
	d := idle(t)
	d.setFaults([]fault{slow})
	answer := serve(d, request("GET", "/", ""))
	assert.Equal(t, http.StatusOK, answer.Code)
	page := answer.Body.String()
	for _, f := range allFaults {
		assert.Contains(t, page, `<label for="`+string(f.Fault)+`">`+f.Title+`</label>`)
		assert.Contains(t, page, `<p id="`+string(f.Fault)+`-hint">`)
	}
	assert.Equal(t, 1, strings.Count(page, " checked>"))
	assert.Contains(t, page, `id="slow" name="on" value="slow" aria-describedby="slow-hint" checked>`)
	assert.Contains(t, page, `<div data-faults="slow ">`)
	for _, c := range d.clients {
		assert.Contains(t, page, `<th scope="col">`+c.name+`</th>`)
	}
}

func TestThePageNeedsNothingFromOutside(t *testing.T) {
	d := idle(t)
	answer := serve(d, request("GET", "/", ""))
	assert.NotRegexp(t, `(src|href|url\()="?(https?:)?//`, answer.Body.String())
	assert.Contains(t, answer.Header().Get("Content-Security-Policy"), "default-src 'none'")
	for file, kind := range map[string]string{"/page.css": "text/css", "/page.js": "text/javascript"} {
		answer := serve(d, request("GET", file, ""))
		assert.Equal(t, http.StatusOK, answer.Code)
		assert.Contains(t, answer.Header().Get("Content-Type"), kind)
		assert.NotContains(t, answer.Body.String(), "//www.")
	}
	assert.Equal(t, http.StatusNotFound, serve(d, request("GET", "/page.html", "")).Code)
}

func TestSwitches(t *testing.T) {
	d := idle(t)
	for _, test := range []struct {
		name, body string
		code       int
		want       []fault
	}{
		{"one on", "on=lost", http.StatusSeeOther, []fault{lostAnswers}},
		{"another one in its place", "on=dead&on=slow", http.StatusSeeOther, []fault{deadConnections, slow}},
		{"one that does not exist changes nothing", "on=lost&on=fire", http.StatusBadRequest, []fault{deadConnections, slow}},
		{"a body that is no form changes nothing", "%", http.StatusBadRequest, []fault{deadConnections, slow}},
		{"a body that is too long changes nothing", "on=lost&x=" + strings.Repeat("x", 5000), http.StatusBadRequest, []fault{deadConnections, slow}},
		{"the same one twice", "on=dead&on=slow&on=dead", http.StatusSeeOther, []fault{deadConnections, slow, deadConnections}},
		{"all off", "", http.StatusSeeOther, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.code, serve(d, request("POST", "/faults", test.body)).Code)
			assert.Equal(t, test.want, d.faults.list())
		})
	}
}

func TestAnotherBodyThanThatOfTheFormChangesNothing(t *testing.T) {
	d := idle(t)
	d.setFaults([]fault{slow})
	for _, kind := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", "", ";"} {
		r := request("POST", "/faults", `{"on": "lost"}`)
		r.Header.Set("Content-Type", kind)
		assert.Equal(t, http.StatusUnsupportedMediaType, serve(d, r).Code, kind)
		assert.Equal(t, []fault{slow}, d.faults.list())
	}
	r := request("POST", "/faults", "on=lost")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	assert.Equal(t, http.StatusSeeOther, serve(d, r).Code)
}

// pipes is a listener in memory whose connections have no buffer.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A tab that is closed, and one that reads no more, leave nothing behind, while others go on and
// switches change.
func TestTabsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := idle(t)
		var open atomic.Int32
		page := newPage(d)
		listener := make(pipes)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			open.Add(1)
			defer open.Add(-1)
			page.ServeHTTP(w, r)
		})}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(listener) }()
		connect := func() net.Conn {
			near, far := net.Pipe()
			listener <- far
			_, err := io.WriteString(near, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			return near
		}
		var tabs []net.Conn
		for n := range 10 {
			tab := connect()
			tabs = append(tabs, tab)
			if n >= 5 { // the others read nothing
				go func() { _, _ = io.Copy(io.Discard, tab) }()
			}
		}
		for n := range 20 {
			go d.setFaults([]fault{allFaults[n%len(allFaults)].Fault})
		}
		testkit.Sleep(stalled - time.Second)
		assert.EqualValues(t, 10, open.Load())
		testkit.Sleep(2 * time.Second)
		assert.EqualValues(t, 5, open.Load(), "those that read nothing are gone")
		testkit.Sleep(time.Hour)
		assert.EqualValues(t, 5, open.Load(), "those that read are served")
		for _, tab := range tabs {
			require.NoError(t, tab.Close())
		}
		testkit.Sleep(2 * refreshInterval)
		assert.Zero(t, open.Load())
		close(listener)
		<-served
	})
}

func TestOtherSitesCannotUseThePage(t *testing.T) {
	d := idle(t)
	foreign := request("POST", "/faults", "on=lost")
	foreign.Header.Set("Origin", "https://example.com")
	assert.Equal(t, http.StatusForbidden, serve(d, foreign).Code)
	assert.Empty(t, d.faults.list())

	for host, code := range map[string]int{
		"127.0.0.1:8099": http.StatusOK, "localhost:8099": http.StatusOK, "localhost": http.StatusOK, "[::1]:8099": http.StatusOK,
		"example.com": http.StatusForbidden, "127.0.0.1.example.com:8099": http.StatusForbidden, "192.0.2.1:8099": http.StatusForbidden,
	} {
		r := request("GET", "/", "")
		r.Host = host
		assert.Equal(t, code, serve(d, r).Code, host)
	}
}

func TestEventsBringTheStateUntilTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := idle(t)
		ctx, cancel := context.WithCancel(t.Context())
		answer := httptest.NewRecorder()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			newPage(d).ServeHTTP(answer, request("GET", "/events", "").WithContext(ctx))
		}()
		testkit.Sleep(refreshInterval / 2)
		d.setFaults([]fault{throttled})
		testkit.Sleep(refreshInterval)
		cancel()
		<-ended

		assert.Equal(t, "text/event-stream", answer.Header().Get("Content-Type"))
		events := strings.Split(strings.TrimSuffix(answer.Body.String(), "\n\n"), "\n\n")
		require.Len(t, events, 2)
		assert.Contains(t, events[0], `data: <div data-faults="">`)
		assert.Contains(t, events[1], `data: <div data-faults="throttled ">`)
		for _, event := range events {
			for line := range strings.Lines(event) {
				assert.Regexp(t, `^data: `, line)
			}
		}
	})
}

func TestThePageShowsLimitsAndDecisions(t *testing.T) {
	v := idle(t).view()
	v.Limiter = k8sretry.LimiterState{Limited: true, Queued: 7}
	v.Limited = []k8sretry.LimitedScope{
		{Scope: k8sretry.ScopeServer, LimiterState: k8sretry.LimiterState{Limit: 1, Queued: 3, Pause: 1500 * time.Millisecond}},
		{Scope: k8sretry.ScopeKind, Name: "list pods", LimiterState: k8sretry.LimiterState{Queued: 4, Rate: 2.06}},
	}
	v.Decisions = []decision{{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "list pods: <b>"}}
	v.Retries, v.Waits = 2, 3*time.Second
	page := string(render("live", v))
	assert.Contains(t, page, "7 attempts are queued")
	assert.Contains(t, page, `<th scope="row">server</th><td>all</td><td>1</td><td>–</td><td>0</td><td>3</td><td>1.50 s</td>`)
	assert.Contains(t, page, `<th scope="row">kind</th><td>list pods</td><td>–</td><td>2.1</td><td>0</td><td>4</td><td>–</td>`)
	assert.Contains(t, page, `<time datetime="03:04:05">03:04:05</time> list pods: &lt;b&gt;`)
	assert.Contains(t, page, "2 retries so far, before which it waited 3.00 s in all.")
}
