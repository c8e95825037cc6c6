// SPDX-License-Identifier: Apache-2.0

package funcname

import (
	"reflect"
	"runtime"
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
	for file, own := range map[string]bool{
		root + "/retry.go":                            true,
		root + "/internal/limiter/limiter.go":         true,
		root + "/internal/funcname/funcname.go":       true,
		root + "/retry_test.go":                       false,
		root + "/internal/limiter/limiter_test.go":    false,
		root + "/k8sretryctrl/client.go":              false,
		root + "/examples/internal/tinykube/serve.go": false,
		root + "-fork/retry.go":                       false,
		"/src/main.go":                                false,
		"":                                            false,
	} {
		assert.Equal(t, own, isOwn(file), file)
	}
	_, file, _, _ := runtime.Caller(0)
	assert.Equal(t, root+"/internal/funcname/funcname_test.go", file)
	assert.Equal(t, "TestCallerSkipsTheRootPackageAndItsInternalPackages", Caller())
	assert.Equal(t, "TestCallerSkipsTheRootPackageAndItsInternalPackages.func1", func() string { return Caller() }())
}
