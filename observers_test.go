package k8sretry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry"
)

func TestObservers(t *testing.T) {
	var heard []string
	by := func(name string) k8sretry.Observer {
		return observerFunc(func(context.Context, k8sretry.Event) { heard = append(heard, name) })
	}
	given := []k8sretry.Observer{by("metrics"), nil, by("traces")}
	both := k8sretry.MultiObserver(given...)
	given[0] = nil // the slice was copied
	_, err := k8sretry.Do(t.Context(), func(context.Context) (int, error) { return 1, nil }, k8sretry.WithObserver(both))
	assert.NoError(t, err)
	assert.Equal(t, []string{"metrics", "traces"}, heard)

	assert.Nil(t, k8sretry.MultiObserver())
	assert.Nil(t, k8sretry.MultiObserver(nil, nil))
	heard = nil
	k8sretry.MultiObserver(nil, by("alone")).Observe(t.Context(), k8sretry.Event{})
	assert.Equal(t, []string{"alone"}, heard)
}
