package k8sretry_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/k8sretry/k8sretry"
)

func lostReply() error { return &url.Error{Op: "Post", URL: "https://10.0.0.1/api", Err: io.EOF} }

// outcomeUnknown says of an error that nobody can tell what became of the write.
func outcomeUnknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
}

// asItCame says of an error that it is what the API returned, nothing around it.
func asItCame(t *testing.T, err error) {
	t.Helper()
	_, ok := err.(*apierrors.StatusError)
	require.True(t, ok, "%T: %v", err, err)
}

func TestCreate(t *testing.T) {
	allocated := apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), "x", field.ErrorList{
		field.Invalid(field.NewPath("spec", "clusterIP"), "10.0.0.10", "failed to allocate IP 10.0.0.10: provided IP is already allocated"),
	})
	foreign := configMap("x", "by", "somebody")
	for name, tt := range map[string]struct {
		prepare  func(*cluster)
		options  []k8sretry.Option
		fails    func(*testing.T, error)
		is       func(error) bool // of the error
		requests string
		created  int // objects of the name x that were ever created
		ours     bool
	}{
		"no mishap": {requests: "create", created: 1, ours: true},
		"a foreign object at once": {
			prepare: func(c *cluster) { c.put(foreign) }, fails: asItCame, is: apierrors.IsAlreadyExists,
			requests: "create", created: 1,
		},
		"answer lost, then AlreadyExists: it is ours": {
			prepare:  func(c *cluster) { c.on("create", lost(lostReply())) },
			requests: "create create get", created: 1, ours: true,
		},
		"lost before the server, then created": {
			prepare:  func(c *cluster) { c.on("create", failed(network("read", syscall.ECONNRESET))) },
			requests: "create create", created: 1, ours: true,
		},
		"504, never stored, and a foreign object takes the name: the refusal stands": {
			prepare: func(c *cluster) {
				c.on("create", &mishap{before: gatewayTimeout(), then: func() { c.put(foreign) }})
			},
			fails: asItCame, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"AlreadyExists in plain text on the first attempt proves nothing: it is ours": {
			prepare: func(c *cluster) {
				c.on("create", lost(apierrors.NewGenericServerResponse(409, "POST", configMaps, "", "conflict", 0, true)))
			},
			requests: "create get", created: 1, ours: true,
		},
		"answer lost, then 422 because its own address is allocated: it is ours": {
			prepare:  func(c *cluster) { c.on("create", lost(badGateway()), failed(allocated)) },
			requests: "create create get", created: 1, ours: true,
		},
		"answer lost, then 403 because it has filled the quota: it is ours": {
			prepare:  func(c *cluster) { c.on("create", lost(badGateway()), failed(exceeded("x"))) },
			requests: "create create get", created: 1, ours: true,
		},
		"never stored, then a full quota, nothing to be seen: asked again, then unknown": {
			prepare: func(c *cluster) {
				c.on("create", failed(badGateway()), failed(exceeded("x")), failed(exceeded("x")), failed(exceeded("x")))
			},
			fails: outcomeUnknown, is: apierrors.IsForbidden,
			requests: "create create get create get create get get",
		},
		"etcd timeout, stored late: NotFound proves nothing, the repetition does": {
			prepare: func(c *cluster) {
				c.on("create", &mishap{late: etcdTimeout()}, failed(exceeded("x")))
				c.mishaps["get"] = []*mishap{failed(apierrors.NewNotFound(configMaps, "x"))}
			},
			requests: "create create get create get", created: 1, ours: true,
		},
		"denied by a webhook after an unknown attempt, and it is ours": {
			prepare:  func(c *cluster) { c.on("create", lost(unavailable()), failed(denied(400, "BadRequest"))) },
			requests: "create create get", created: 1, ours: true,
		},
		"denied by a webhook after an unknown attempt, nothing to be seen": {
			prepare: func(c *cluster) { c.on("create", failed(etcdTimeout()), failed(denied(400, "BadRequest"))) },
			fails:   outcomeUnknown, is: apierrors.IsBadRequest, requests: "create create get",
		},
		"denied by a webhook that says AlreadyExists, at once": {
			prepare: func(c *cluster) { c.on("create", failed(denied(409, "AlreadyExists"))) },
			fails:   asItCame, is: apierrors.IsAlreadyExists, requests: "create",
		},
		"a lasting refusal at once": {
			prepare: func(c *cluster) { c.on("create", failed(forbidden("x"))) },
			fails:   asItCame, is: apierrors.IsForbidden, requests: "create",
		},
		"created and deleted by somebody while in doubt: not created again": {
			prepare: func(c *cluster) {
				c.on("create", lost(unavailable()))
				c.mishaps["create"] = append(c.mishaps["create"], &mishap{then: func() { c.remove("x") }})
			},
			fails: outcomeUnknown, is: apierrors.IsAlreadyExists, created: 1,
			requests: "create create get get get get",
		},
		"throttled twice: no doubt, no look": {
			prepare:  func(c *cluster) { c.on("create", failed(tooMany(1)), failed(tooMany(1))) },
			requests: "create create create", created: 1, ours: true,
		},
		"a success that is none: the object is sent again": {
			prepare:  func(c *cluster) { c.on("create", &mishap{empty: true}) },
			requests: "create get create", created: 1, ours: true,
		},
		"a success that is none, the name is foreign": {
			prepare: func(c *cluster) { c.put(foreign); c.on("create", &mishap{empty: true}) },
			fails:   asItCame, is: apierrors.IsAlreadyExists, requests: "create get create", created: 1,
		},
		"stored, but the answer cannot be decoded: looked for, not sent again": {
			prepare: func(c *cluster) {
				c.on("create", lost(errors.New("couldn't get version/kind; json parse error: unexpected end of JSON input")))
			},
			requests: "create get", created: 1, ours: true,
		},
		"the proof itself fails for a while": {
			prepare: func(c *cluster) {
				c.on("create", lost(lostReply())).on("get", failed(unavailable()), failed(lostReply()))
			},
			requests: "create create get get get", created: 1, ours: true,
		},
		"the proof is forbidden": {
			prepare: func(c *cluster) { c.on("create", lost(lostReply())).on("get", failed(forbidden("x"))) },
			fails:   outcomeUnknown, is: apierrors.IsAlreadyExists, requests: "create create get", created: 1,
		},
		"without a token nothing can be proven": {
			prepare: func(c *cluster) { c.on("create", lost(lostReply())) },
			options: []k8sretry.Option{k8sretry.WithTokenAnnotation("")},
			fails:   outcomeUnknown, is: apierrors.IsAlreadyExists, requests: "create create", created: 1,
		},
		"all answers lost: the last check finds it": {
			prepare: func(c *cluster) {
				c.on("create", lost(lostReply()), failed(lostReply()), failed(lostReply()), failed(lostReply()))
			},
			requests: "create create create create get", created: 1, ours: true,
		},
		"all lost before the server: unknown": {
			prepare: func(c *cluster) { c.on("create", repeated(4, failed(unavailable()))...) },
			fails: func(t *testing.T, err error) {
				outcomeUnknown(t, err)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			},
			is: apierrors.IsServiceUnavailable, requests: "create create create create get",
		},
		"no retries allowed, answer lost: the last check finds it": {
			prepare:  func(c *cluster) { c.on("create", lost(lostReply())) },
			options:  []k8sretry.Option{k8sretry.WithMaxRetries(0)},
			requests: "create get", created: 1, ours: true,
		},
		"refused connections only: nothing is in doubt": {
			prepare: func(c *cluster) { c.on("create", repeated(4, failed(network("dial", syscall.ECONNREFUSED)))...) },
			fails: func(t *testing.T, err error) {
				assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
				assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
			},
			requests: "create create create create",
		},
		"the caller's condition still counts": {
			prepare:  func(c *cluster) { c.on("create", failed(forbidden("x"))) },
			options:  []k8sretry.Option{k8sretry.WithRetryIf(apierrors.IsForbidden)},
			requests: "create create", created: 1, ours: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				if tt.prepare != nil {
					tt.prepare(c)
				}
				obj := configMap("x", "by", "us")
				given := obj.DeepCopy()

				made, err := k8sretry.Create(context.Background(), c, obj, metav1.CreateOptions{}, tt.options...)

				assert.Equal(t, given, obj, "the caller's object was changed")
				if tt.fails == nil {
					require.NoError(t, err)
					assert.Equal(t, "us", made.Data["by"])
					assert.NotEmpty(t, made.UID)
				} else {
					tt.fails(t, err)
					assert.Nil(t, made)
				}
				if tt.is != nil {
					assert.True(t, tt.is(err), "%v", err)
				}
				c.expectRequests(t, strings.Fields(tt.requests)...)
				assert.Equal(t, tt.created, c.created["x"])
				if stored := c.objects["x"]; tt.ours {
					assert.Equal(t, "us", stored.Data["by"])
				}
			})
		})
	}
}

func repeated(n int, m *mishap) []*mishap {
	all := make([]*mishap, n)
	for i := range all {
		all[i] = m
	}
	return all
}

func TestCreateToken(t *testing.T) {
	c := newCluster()
	made, err := k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{})
	require.NoError(t, err)
	other, err := k8sretry.Create(context.Background(), c, configMap("y"), metav1.CreateOptions{})
	require.NoError(t, err)
	assert.NotEmpty(t, made.Annotations[k8sretry.TokenAnnotation])
	assert.NotEqual(t, made.Annotations, other.Annotations)

	policy := k8sretry.NewPolicy(k8sretry.WithTokenAnnotation("example.com/token"))
	made, err = k8sretry.Create(context.Background(), c, configMap("z"), metav1.CreateOptions{}, policy)
	require.NoError(t, err)
	assert.Contains(t, made.Annotations, "example.com/token")
	assert.Len(t, made.Annotations, 1)

	made, err = k8sretry.Create(context.Background(), c, configMap("w"), metav1.CreateOptions{}, policy, k8sretry.WithTokenAnnotation(""))
	require.NoError(t, err)
	assert.Empty(t, made.Annotations)
}

func TestCreateDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster().on("create", failed(gatewayTimeout()), failed(lostReply()))
		made, err := k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
		assert.Empty(t, made.Annotations)
		assert.Empty(t, c.objects)
		c.expectRequests(t, "create", "create", "create")

		c = newCluster().on("create", repeated(9, failed(gatewayTimeout()))...)
		_, err = k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		assert.ErrorIs(t, err, k8sretry.ErrMaxRetries)
		assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
	})
}

func TestCreateGenerateName(t *testing.T) {
	generated := func(base string) *corev1.ConfigMap {
		o := configMap("")
		o.GenerateName = base
		return o
	}
	t.Run("one object, whatever is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster().on("create", lost(lostReply()), failed(gatewayTimeout()))
			obj := generated("job-")
			made, err := k8sretry.Create(context.Background(), c, obj, metav1.CreateOptions{})
			require.NoError(t, err)
			assert.Regexp(t, `^job-[a-z0-9]{5}$`, made.Name)
			assert.Len(t, c.objects, 1)
			assert.Empty(t, obj.Name)
		})
	})
	t.Run("a long base is cut as the server cuts it", func(t *testing.T) {
		made, err := k8sretry.Create(context.Background(), newCluster(), generated(strings.Repeat("a", 100)), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Len(t, made.Name, 63)
	})
	t.Run("drawn anew after a foreign collision, without a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c := newCluster()
			var names []string
			c.always = func(verb string) *mishap {
				if len(names) < 3 {
					names = append(names, verb)
					return failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1))
				}
				return nil
			}
			_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
			require.NoError(t, err)
			c.expectRequests(t, "create", "create", "create", "create")
			assert.Zero(t, time.Since(began))
		})
	})
	t.Run("not for ever", func(t *testing.T) {
		c := newCluster()
		c.always = func(string) *mishap { return failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1)) }
		_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
		assert.True(t, apierrors.IsAlreadyExists(err))
		assert.Equal(t, 8, c.count("create"))
	})
	t.Run("in doubt, the name is foreign: drawn anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.on("create", &mishap{before: gatewayTimeout(), then: func() { c.put(configMap(c.tried[0])) }})
			made, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
			require.NoError(t, err)
			assert.NotEqual(t, c.tried[0], made.Name)
			c.expectRequests(t, "create", "create", "get", "create")
		})
	})
	t.Run("in doubt, the name is taken and cannot be seen: not drawn anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.on("create", failed(gatewayTimeout()), failed(apierrors.NewGenerateNameConflict(configMaps, "job-x", 1)))
			_, err := k8sretry.Create(context.Background(), c, generated("job-"), metav1.CreateOptions{})
			outcomeUnknown(t, err)
			assert.True(t, apierrors.IsAlreadyExists(err))
			assert.Equal(t, 2, c.count("create"))
		})
	})
}

func TestCreateWhenTheContextEnds(t *testing.T) {
	t.Run("the answer is lost by the caller's own deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			c := newCluster().on("create", &mishap{after: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
			made, err := k8sretry.Create(ctx, c, configMap("x"), metav1.CreateOptions{})
			require.NoError(t, err)
			assert.NotEmpty(t, made.UID)
			c.expectRequests(t, "create", "get")
		})
	})
	t.Run("the last check has its own bounded time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			c := newCluster().on("create", &mishap{before: context.DeadlineExceeded, then: func() { <-ctx.Done() }})
			c.always = func(verb string) *mishap {
				if verb == "get" {
					return failed(unavailable())
				}
				return nil
			}
			began := time.Now()
			_, err := k8sretry.Create(ctx, c, configMap("x"), metav1.CreateOptions{})
			outcomeUnknown(t, err)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.LessOrEqual(t, time.Since(began), time.Second+5*time.Second) // its own, for one last check
		})
	})
	t.Run("over before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c := newCluster()
		_, err := k8sretry.Create(ctx, c, configMap("x"), metav1.CreateOptions{})
		assert.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, c.requests)
	})
}

func TestCreateEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, written := logs()
		c := newCluster().on("create", lost(lostReply()))
		_, err := k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{}, logger, exact)
		require.NoError(t, err)
		assert.Equal(t, []string{"k8s_api_call_failed_retrying", "k8s_api_call_succeeded_after_retry"}, messages(written))
		assert.Equal(t, "create", written.All()[0].ContextMap()["verb"])
		assert.Equal(t, "unknown", written.All()[0].ContextMap()["outcome"])

		logger, written = logs()
		c = newCluster().on("create", lost(lostReply()))
		_, err = k8sretry.Create(context.Background(), c, configMap("x"), metav1.CreateOptions{}, logger, k8sretry.WithMaxRetries(0))
		require.NoError(t, err)
		assert.Empty(t, messages(written), "the last check is not a call of the caller's")
	})
}

func TestWritesRefuseNothing(t *testing.T) {
	ctx := context.Background()
	var none *corev1.ConfigMap
	var noCluster *cluster
	_, err := k8sretry.Create(ctx, newCluster(), none, metav1.CreateOptions{})
	assert.ErrorContains(t, err, "object is nil")
	_, err = k8sretry.Update(ctx, newCluster(), none, metav1.UpdateOptions{})
	assert.ErrorContains(t, err, "object is nil")
	err = k8sretry.Delete(ctx, newCluster(), none, metav1.DeleteOptions{})
	assert.ErrorContains(t, err, "object is nil")
	_, err = k8sretry.Modify(ctx, newCluster(), "x", nil)
	assert.ErrorContains(t, err, "nil")
	_, err = k8sretry.Create(ctx, noCluster, configMap("x"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "client is nil")
	_, err = k8sretry.Create(ctx, newCluster(), configMap("x"), metav1.CreateOptions{}, k8sretry.WithMaxRetries(-1))
	assert.ErrorContains(t, err, "WithMaxRetries")
	var noContext context.Context
	_, err = k8sretry.Create(noContext, newCluster(), configMap("x"), metav1.CreateOptions{})
	assert.ErrorContains(t, err, "context is nil")
}
