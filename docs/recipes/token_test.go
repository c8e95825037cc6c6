// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/k8sretrytest"
)

// maintenanceClientset returns a clientset that retries for minutes. Its Transport is outside
// everything that client-go makes of config, so that every retry has a fresh token. The
// inner Transport leaves the retries to it, and only replaces connections that have gone silent.
func maintenanceClientset(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	config.Wrap(k8sretry.Transport())
	authenticated, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	retrying := k8sretry.Transport(k8sretry.ForMaintenance(), k8sretry.WithAttemptTimeout(30*time.Second))
	return kubernetes.NewForConfigAndClient(config, &http.Client{Transport: retrying(authenticated)})
}

// wrappedClientset is the usual one, whose retries have the token of the first attempt.
func wrappedClientset(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.Wrap(k8sretry.Transport(k8sretry.ForMaintenance()))
	return kubernetes.NewForConfig(config)
}

func TestTokenThatExpires(t *testing.T) {
	for name, c := range map[string]struct {
		clientset func(*rest.Config) (kubernetes.Interface, error)
		fails     bool
	}{
		"a Transport outside": {maintenanceClientset, false},
		"rest.Config.Wrap":    {wrappedClientset, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				var faults k8sretrytest.Faults
				config := inMemory(&faults, func(w http.ResponseWriter, r *http.Request) {
					assert.Contains(t, r.UserAgent(), "recipes.test/")
					switch expired := time.Since(started) > 2*time.Minute; {
					case !expired:
						assert.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
						w.WriteHeader(http.StatusServiceUnavailable)
					case r.Header.Get("Authorization") != "Bearer new":
						w.WriteHeader(http.StatusUnauthorized)
					default:
						w.Header().Set("Content-Type", "application/json")
						_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-0"}}`)
					}
				})
				config.BearerTokenFile = file
				clientset, err := c.clientset(config)
				require.NoError(t, err)
				_, err = clientset.CoreV1().Pods("default").Get(t.Context(), "web-0", metav1.GetOptions{})
				if c.fails {
					assert.True(t, apierrors.IsUnauthorized(err), "%v", err)
				} else {
					assert.NoError(t, err)
				}
			})
		})
	}
}
