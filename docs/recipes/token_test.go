// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

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

// doing calls a clientset in a Do, each of whose attempts passes everything that client-go makes of config.
func doing(ctx context.Context, clientset kubernetes.Interface) error {
	return k8sretry.Run(ctx, func(ctx context.Context) error { return getting(ctx, clientset) }, k8sretry.ForMaintenance())
}

func getting(ctx context.Context, clientset kubernetes.Interface) error {
	_, err := clientset.CoreV1().Pods("default").Get(ctx, "web-0", metav1.GetOptions{})
	return err
}

// deleting repeats a delete, which a read comes before.
func deleting(ctx context.Context, clientset kubernetes.Interface) error {
	return clientset.CoreV1().Pods("default").Delete(ctx, "web-0", metav1.DeleteOptions{})
}

// asPlugin makes the token in a file that of a credential plugin.
func asPlugin(config *rest.Config, file string) {
	config.ExecProvider = &clientcmdapi.ExecConfig{
		Command: "sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		// Virtual time begins in 2000.
		Args: []string{"-c", `echo "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{` +
			`\"expirationTimestamp\":\"2000-01-01T00:0$(grep -q old $0 && echo 2 || echo 9):00Z\",\"token\":\"$(cat $0)\"}}"`, file},
	}
}

func TestTokenThatExpires(t *testing.T) {
	asFile := func(config *rest.Config, file string) { config.BearerTokenFile = file }
	for name, c := range map[string]struct {
		clientset func(*rest.Config) (kubernetes.Interface, error)
		token     func(config *rest.Config, file string)
		call      func(context.Context, kubernetes.Interface) error
		fails     bool
	}{
		"a Transport outside":                            {maintenanceClientset, asFile, getting, false},
		"rest.Config.Wrap":                               {wrappedClientset, asFile, getting, true},
		"a Transport outside, a plugin":                  {maintenanceClientset, asPlugin, getting, false},
		"rest.Config.Wrap, a plugin":                     {wrappedClientset, asPlugin, getting, true},
		"a Do above rest.Config.Wrap":                    {wrappedClientset, asFile, doing, false},
		"a Do above rest.Config.Wrap, a plugin":          {wrappedClientset, asPlugin, doing, false},
		"a Transport outside, which reads, then deletes": {maintenanceClientset, asFile, deleting, false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath("sh"); err != nil && strings.Contains(name, "plugin") {
				t.Skip("the plugin is a shell script")
			}
			file := filepath.Join(t.TempDir(), "token")
			require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
			synctest.Test(t, func(t *testing.T) {
				started, stored := time.Now(), fake.NewClientset()
				k8sretrytest.EmulateServer(&stored.Fake)
				server := k8sretrytest.NewServer(&stored.Fake, scheme.Scheme)
				defer server.Close()
				_, err := stored.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}, metav1.CreateOptions{})
				require.NoError(t, err)
				<-time.After(time.Minute) // the pod is older than the call
				server.Wrap(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						assert.Contains(t, r.UserAgent(), "recipes.test/")
						switch expired := time.Since(started) > 3*time.Minute; {
						case !expired:
							assert.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
							w.WriteHeader(http.StatusServiceUnavailable)
						case r.Header.Get("Authorization") != "Bearer new":
							w.WriteHeader(http.StatusUnauthorized)
						default:
							next.ServeHTTP(w, r)
						}
					})
				})
				config := server.Config()
				c.token(config, file)
				clientset, err := c.clientset(config)
				require.NoError(t, err)
				err = c.call(t.Context(), clientset)
				if c.fails {
					assert.True(t, apierrors.IsUnauthorized(err), "%v", err)
				} else {
					assert.NoError(t, err)
				}
			})
		})
	}
}
