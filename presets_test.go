package k8sretry_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// The table of the package documentation and the README: what each preset waits.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy *k8sretry.Policy
		fail   error
		waits  []time.Duration
		total  time.Duration
	}{
		{"the defaults", k8sretry.NewPolicy(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForWrite", k8sretry.ForWrite(), unavailable(), seconds(2, 4, 8, 16, 30), 60 * time.Second},
		{"ForRead", k8sretry.ForRead(), unavailable(), seconds(1, 2, 4), 7 * time.Second},
		{"ForConnection", k8sretry.ForConnection(), network("read", 104), seconds(0.5, 1, 2, 4, 8), 15500 * time.Millisecond},
		{"ForMaintenance", k8sretry.ForMaintenance(), unavailable(), seconds(0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60), 243500 * time.Millisecond},
		{"ForBackground", k8sretry.ForBackground(), unavailable(), seconds(2, 4), 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, c.fail)...)
				_, err := k8sretry.Do(t.Context(), s.get, c.policy, exact)
				require.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.waits, s.waits())
				assert.Equal(t, c.total, asError(t, err).Elapsed)
			})
		})
	}
}

func TestPresetsAreSharedAndLeaveOtherSettings(t *testing.T) {
	assert.Same(t, k8sretry.ForWrite(), k8sretry.ForWrite())
	synctest.Test(t, func(t *testing.T) {
		s := fails(times(2, unavailable())...)
		_, err := k8sretry.Do(t.Context(), s.get, exact, k8sretry.WithMultiplier(3), k8sretry.ForWrite())
		require.NoError(t, err)
		assert.Equal(t, seconds(2, 6), s.waits(), "a preset says nothing of jitter and multiplier")
	})
}

func TestForEvictionEndsWithTheContextAndTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := contextWithTimeout(t, time.Minute)
		defer cancel()
		start := time.Now()
		s := fails(times(99, budgetSpent())...)
		_, err := k8sretry.Do(ctx, s.get, k8sretry.ForEviction(), exact)
		assert.ErrorIs(t, err, k8sretry.ErrDeadline)
		assert.ErrorContains(t, err, "disruption budget")
		assert.Less(t, time.Since(start), time.Minute)
		assert.Equal(t, 5, s.attempts(), "at 0, 5, 12.5, 23.75, 40.6 s and no later than the deadline")
	})
}

// A call of ForRead reads: what became of a failed attempt is in no doubt, unless its
// verb says otherwise.
func TestForReadReads(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []k8sretry.Option
		doubt bool
	}{
		"a query":                         {[]k8sretry.Option{k8sretry.ForRead()}, false},
		"a query with another option":     {[]k8sretry.Option{k8sretry.WithMaxRetries(1), k8sretry.ForRead(), exact}, false},
		"a query within a policy":         {[]k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForRead())}, false},
		"a query, then a policy":          {[]k8sretry.Option{k8sretry.ForRead(), k8sretry.NewPolicy(k8sretry.WithName("list_pods"))}, false},
		"both within a policy":            {[]k8sretry.Option{k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.NewPolicy(k8sretry.WithName("list_pods")))}, false},
		"a query with a verb that writes": {[]k8sretry.Option{k8sretry.ForRead(), k8sretry.WithVerb(k8sretry.VerbUpdate)}, true},
		"another preset":                  {[]k8sretry.Option{k8sretry.ForBackground()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := k8sretry.Do(t.Context(), fails(times(9, unavailable())...).get, c.opts...)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
				assert.Equal(t, c.doubt, errors.Is(err, k8sretry.ErrOutcomeUnknown), "%v", err)
			})
		})
	}
}

// ForConnection was a classifier, which decides before WithRetryIf, so that a condition of
// the caller was never asked.
func TestForConnectionAndTheCallersOwnJudgement(t *testing.T) {
	noHost := network("dial", 0)
	noHost.(*url.Error).Err.(*net.OpError).Err = &net.DNSError{Err: "no such host", IsNotFound: true}
	isNoHost := k8sretry.WithRetryIf(func(err error) bool {
		dns, ok := errors.AsType[*net.DNSError](err)
		return ok && dns.IsNotFound
	})
	all := k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { return k8sretry.Verdict{Class: k8sretry.ClassServer}, true })
	preset := k8sretry.ForConnection()
	for name, c := range map[string]struct {
		fail     error
		opts     []k8sretry.Option
		attempts int
	}{
		"a lost connection": {network("read", 104), []k8sretry.Option{preset}, 6},
		"a lost connection that canceled another request": {errors.Join(context.Canceled, network("read", 104)), []k8sretry.Option{preset}, 6},
		"an answer of the API":                            {unavailable(), []k8sretry.Option{preset}, 1},
		"an answer to a read":                             {unavailable(), []k8sretry.Option{preset, k8sretry.ReadOnly()}, 1},
		"a conflict of an apply":                          {apierrors.NewConflict(pods, "a", errRemodeled), []k8sretry.Option{preset, k8sretry.WithVerb(k8sretry.VerbApply)}, 1},
		"a host that does not exist":                      {noHost, []k8sretry.Option{preset}, 1},
		"and WithRetryIf":                                 {noHost, []k8sretry.Option{preset, isNoHost}, 6},
		"WithRetryIf before it":                           {noHost, []k8sretry.Option{isNoHost, preset}, 6},
		"WithRetryIf in a policy":                         {noHost, []k8sretry.Option{k8sretry.NewPolicy(preset, isNoHost)}, 6},
		"a condition that is false":                       {unavailable(), []k8sretry.Option{preset, isNoHost}, 1},
		"WithRetryOn":                                     {notFoundButRetried, []k8sretry.Option{preset, k8sretry.WithRetryOn(notFoundButRetried)}, 6},
		"a classifier after it":                           {unavailable(), []k8sretry.Option{preset, all}, 6},
		"a classifier after it, in a policy":              {unavailable(), []k8sretry.Option{preset, k8sretry.NewPolicy(all)}, 6},
		"a classifier before it":                          {unavailable(), []k8sretry.Option{all, preset}, 1},
		"a classifier before it, in a policy":             {unavailable(), []k8sretry.Option{k8sretry.NewPolicy(all), k8sretry.NewPolicy(preset)}, 1},
		"another preset after it":                         {unavailable(), []k8sretry.Option{preset, k8sretry.ForWrite()}, 1},
		"a timeout of the attempt":                        {from(context.DeadlineExceeded), []k8sretry.Option{preset}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := fails(times(99, c.fail)...)
				_, err := k8sretry.Do(t.Context(), s.get, c.opts...)
				assert.Error(t, err)
				assert.Equal(t, c.attempts, s.attempts())
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		_ = k8sretry.Run(t.Context(), func(ctx context.Context) error {
			attempts++
			<-ctx.Done()
			return errors.New("net/http: request canceled")
		}, preset, k8sretry.WithAttemptTimeout(time.Second))
		assert.Equal(t, 6, attempts, "an attempt that its timeout has ended")
	})
}
