// SPDX-License-Identifier: Apache-2.0

package testkit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/k8sretry/k8sretry/internal/testkit"
)

func TestSleepIsForBubbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		testkit.Sleep(time.Hour)
		assert.Equal(t, time.Hour, time.Since(began))
	})
	assert.Panics(t, func() { testkit.Sleep(0) })
}
