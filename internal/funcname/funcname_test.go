package funcname

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShortKeepsTypeAndFunction(t *testing.T) {
	for full, want := range map[string]string{
		"k8s.io/client-go/kubernetes/typed/core/v1.PodInterface.Get-fm":                            "PodInterface.Get",
		"k8s.io/client-go/kubernetes/typed/core/v1/fake.(*fakePods).Get-fm":                        "fakePods.Get",
		"k8s.io/client-go/gentype.(*Client[go.shape.*uint8]).Get-fm":                               "Client.Get",
		"k8s.io/client-go/gentype.(*Client[go.shape.*k8s.io/api/core/v1.Pod,a.b/c[d.e/f]]).Get-fm": "Client.Get",
		"example.com/svc.(*Service).Sync.func1":                                                    "Service.Sync.func1",
		"example.com/svc.Load[...]":                                                                "Load",
		"example.com/svc.Load[...].func2":                                                          "Load.func2",
		"main.main":                                                                                "main",
		"gopkg.in/yaml%2ev3.Unmarshal":                                                             "Unmarshal",
		"odd":                                                                                      "odd",
		"half[open":                                                                                "half",
		"":                                                                                         "",
	} {
		assert.Equal(t, want, short(full), full)
	}
}

func TestOfNamesTheFunctionAtAProgramCounter(t *testing.T) {
	assert.Equal(t, "Caller", Of(reflect.ValueOf(Caller).Pointer()))
	assert.Empty(t, Of(1), "no function contains it")
}

func TestCallerSkipsTheRootPackageAndItsInternalPackages(t *testing.T) {
	for full, own := range map[string]bool{
		"github.com/k8sretry/k8sretry.Do[...]":                              true,
		"github.com/k8sretry/k8sretry.(*Policy).Do.func1":                   true,
		"github.com/k8sretry/k8sretry/internal/limiter.(*Limiter).enter":    true,
		"github.com/k8sretry/k8sretry/internal/funcname.Caller":             true,
		"github.com/k8sretry/k8sretry_test.TestDo":                          false,
		"github.com/k8sretry/k8sretry/k8sretryctrl.(*client).Get":           false,
		"github.com/k8sretry/k8sretry/k8sretrytest.(*Server).handle":        false,
		"github.com/k8sretry/k8sretry/examples/internal/tinykube.(*S).List": false,
		"example.com/k8sretry.Do":                                           false,
		"main.main":                                                         false,
		"":                                                                  false,
	} {
		assert.Equal(t, own, isOwn(full), full)
	}
	// Every function of this package is skipped, so the caller is the one of package testing.
	assert.Equal(t, "tRunner", Caller())
	assert.Equal(t, "tRunner", func() string { return Caller() }())
}
