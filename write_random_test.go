package k8sretry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// storm makes a cluster lose answers, before and after the work, to reads as well.
func storm(c *cluster, rng *rand.Rand, share float64) {
	c.always = func(string) *mishap { // called with the cluster's lock held
		if rng.Float64() >= share {
			return nil
		}
		errs := []error{lostReply(), gatewayTimeout(), badGateway(), unavailable(), etcdTimeout()}
		m := &mishap{}
		switch err := errs[rng.IntN(len(errs))]; rng.IntN(5) {
		case 0, 1:
			m.before = err
		case 2, 3:
			m.after = err
		default:
			m.before = tooMany(int32(rng.IntN(2)))
		}
		return m
	}
}

// patient is a policy that outlasts a storm.
var patient = k8sretry.NewPolicy(k8sretry.WithMaxRetries(40), k8sretry.WithInitialDelay(100*time.Millisecond),
	k8sretry.WithMaxDelay(2*time.Second), k8sretry.WithLogger(nil))

// TestWritesInAStorm does many writes at once while three answers in ten are lost and
// others write the same objects. Nothing may fail that should not, be done twice, or be
// lost.
func TestWritesInAStorm(t *testing.T) {
	const workers, rounds = 16, 12
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 7))
				c := newCluster()
				const counters = 4
				for i := range counters {
					c.put(configMap(fmt.Sprintf("counter-%d", i), "n", "0"))
				}
				doomed := make(map[string]*corev1.ConfigMap)
				for w := range workers {
					for r := range rounds {
						name := fmt.Sprintf("doomed-%d-%d", w, r)
						doomed[name] = c.put(configMap(name))
						if (w+r)%20 == 0 {
							c.put(configMap(fmt.Sprintf("fixed-%d-%d", w, r), "by", "somebody"))
						}
					}
				}
				storm(c, rng, 0.3)

				ctx, end := context.WithCancel(context.Background())
				var others, calls sync.WaitGroup
				var foreign [counters]int
				others.Go(func() { // counts as well, and wipes the tokens
					for i := 0; ctx.Err() == nil; i++ {
						time.Sleep(170 * time.Millisecond)
						foreign[i%counters]++
						c.change(fmt.Sprintf("counter-%d", i%counters), func(o *corev1.ConfigMap) { o.Annotations = nil; _ = plusOne(o) })
					}
				})
				others.Go(func() { // puts deleted objects back at once, every fourth
					for ctx.Err() == nil {
						time.Sleep(100 * time.Millisecond)
						for w := range workers {
							for r := range rounds {
								if name := fmt.Sprintf("doomed-%d-%d", w, r); (w+r)%4 == 0 && c.get(name) == nil {
									c.put(configMap(name, "again", "true"))
								}
							}
						}
					}
				})
				var done [workers][counters]int
				for w := range workers {
					calls.Go(func() {
						for r := range rounds {
							id := fmt.Sprintf("%d-%d", w, r)
							fixed, err := k8sretry.Create(ctx, c, configMap("fixed-"+id, "by", "us"), metav1.CreateOptions{}, patient)
							if (w+r)%20 == 0 {
								assert.True(t, apierrors.IsAlreadyExists(err), "create %s: %v", id, err)
								assert.NotErrorIs(t, err, k8sretry.ErrOutcomeUnknown)
							} else if assert.NoError(t, err, "create %s", id) {
								fixed.Data["n"] = "1"
								_, err := k8sretry.Update(ctx, c, fixed, metav1.UpdateOptions{}, patient)
								assert.NoError(t, err, "update %s", id)
							}
							generated := configMap("", "by", id)
							generated.GenerateName = "gen-"
							_, err = k8sretry.Create(ctx, c, generated, metav1.CreateOptions{}, patient)
							assert.NoError(t, err, "generate %s", id)

							err = k8sretry.Delete(ctx, c, doomed["doomed-"+id], metav1.DeleteOptions{}, patient)
							assert.NoError(t, err, "delete %s", id)

							i := (w + r) % counters
							_, err = k8sretry.Modify(ctx, c, fmt.Sprintf("counter-%d", i), plusOne, patient)
							if assert.NoError(t, err, "modify %s", id) {
								done[w][i]++
							}
						}
					})
				}
				calls.Wait()
				time.Sleep(time.Second) // the last ones are put back
				end()
				others.Wait()

				made := map[string]int{}
				for name, o := range c.objects {
					if o.GenerateName != "" {
						made[o.Data["by"]]++
					}
					assert.LessOrEqual(t, c.created[name], 2)
				}
				require.Len(t, made, workers*rounds, "lost")
				for w := range workers {
					for r := range rounds {
						id := fmt.Sprintf("%d-%d", w, r)
						assert.Equal(t, 1, made[id], "generated twice")
						assert.Equal(t, 1, c.created["fixed-"+id])
						if o := c.objects["fixed-"+id]; (w+r)%20 != 0 {
							assert.Equal(t, "1", o.Data["n"])
						}
						if o := c.objects["doomed-"+id]; (w+r)%4 == 0 {
							assert.Equal(t, "true", o.Data["again"])
							assert.Equal(t, 2, c.created["doomed-"+id], "a new object was deleted")
						} else {
							assert.Nil(t, o)
						}
					}
				}
				for i := range counters {
					want := foreign[i]
					for w := range workers {
						want += done[w][i]
					}
					assert.Equal(t, strconv.Itoa(want), c.objects[fmt.Sprintf("counter-%d", i)].Data["n"])
				}
			})
		})
	}
}
