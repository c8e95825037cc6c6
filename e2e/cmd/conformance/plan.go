// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path"
	"regexp"
	"strings"
)

// The modules whose suites are run, in the versions that e2e/go.mod requires.
const (
	clientGo          = "k8s.io/client-go"
	controllerRuntime = "sigs.k8s.io/controller-runtime"
)

// programs are what envtest starts, by the names that it looks for.
var programs = map[string]string{
	"kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
	"kubectl":        "k8s.io/kubernetes/cmd/kubectl",
	"etcd":           "go.etcd.io/etcd/server/v3",
}

// suite is the tests of one package.
type suite struct {
	module string
	dir    string // of the package in the module
	ginkgo string // the Go test that runs the specs of Ginkgo, if there is one
	fake   bool   // the clients of the suite are fakes
}

func suites() []suite {
	all := []suite{
		{dir: "pkg/client", ginkgo: "TestClient"},
		{dir: "pkg/client/fake", ginkgo: "TestSource", fake: true},
		{dir: "pkg/controller/controllerutil", ginkgo: "TestControllerutil"},
		{dir: "pkg/builder", ginkgo: "TestBuilder"},
		{dir: "pkg/manager", ginkgo: "TestSource"},
		{dir: "pkg/cache", ginkgo: "TestSource"},
		{dir: "pkg/source", ginkgo: "TestSource"},
	}
	for i := range all {
		all[i].module = controllerRuntime
	}
	for _, dir := range []string{"dynamic", "metadata", "discovery", "tools/watch", "tools/leaderelection", "tools/remotecommand", "tools/portforward"} {
		all = append(all, suite{module: clientGo, dir: dir})
	}
	return all
}

func (s suite) pkg() string { return s.module + "/" + s.dir }

// name is that of a column of the table.
func (s suite) name() string { return path.Base(s.module) + " " + s.dir }

// file is the name of the suite in file names.
func (s suite) file() string { return strings.NewReplacer("/", "-", " ", "-").Replace(s.name()) }

// a rename makes place for a function of ours in a package.
type rename struct{ module, file, from, to string }

// renames give a new name to the functions that [added] replaces.
var renames = []rename{
	{clientGo, "rest/transport.go", "func (c *Config) TransportConfig() (", "func (c *Config) plainTransportConfig() ("},
	{controllerRuntime, "pkg/client/client.go", "func New(", "func plainNew("},
	{controllerRuntime, "pkg/client/watch.go", "func NewWithWatch(", "func plainNewWithWatch("},
	{controllerRuntime, "pkg/client/fake/client.go", ") Build() client.WithWatch {", ") plainBuild() client.WithWatch {"},
}

// added are files that are added to the modules: the places where a suite gets k8sretry in.
// All tests of a package use them, because they are behind its own constructors.
var added = []struct{ module, file, text string }{
	{clientGo, "rest/conformance.go", `package rest

import "k8s.io/client-go/transport"

// Seam wraps the transport of each client, in addition to the wrappers of its configuration.
var Seam transport.WrapperFunc

func (c *Config) TransportConfig() (*transport.Config, error) {
	conf, err := c.plainTransportConfig()
	if err == nil && Seam != nil {
		conf.Wrap(Seam)
	}
	return conf, err
}
`},
	{controllerRuntime, "pkg/client/conformance.go", `package client

import "k8s.io/client-go/rest"

// Seam wraps each client.
var Seam func(Client) WithWatch

func New(config *rest.Config, options Options) (Client, error) {
	c, err := plainNew(config, options)
	if err != nil || Seam == nil {
		return c, err
	}
	return Seam(c), nil
}

func NewWithWatch(config *rest.Config, options Options) (WithWatch, error) {
	c, err := plainNewWithWatch(config, options)
	if err != nil || Seam == nil {
		return c, err
	}
	return Seam(c), nil
}
`},
	{controllerRuntime, "pkg/client/fake/conformance.go", `package fake

import "sigs.k8s.io/controller-runtime/pkg/client"

// Seam wraps each fake.
var Seam func(client.Client) client.WithWatch

func (f *ClientBuilder) Build() client.WithWatch {
	c := f.plainBuild()
	if Seam == nil {
		return c
	}
	return Seam(c)
}
`},
}

// testFile is the file that is added to the tests of a suite. It is in the external test
// package, which may import k8sretry although k8sretry imports the package under test. With
// Ginkgo the faults begin with the first spec, after the server has been set up.
func (s suite) testFile() string {
	imports, begin := []string{`"k8s.io/client-go/rest"`, `"github.com/k8sretry/k8sretry/e2e/cmd/conformance/seam"`}, "seam.Begin()"
	wrap := ""
	if s.ginkgo != "" {
		imports = append(imports, `"github.com/onsi/ginkgo/v2"`)
		begin = "ginkgo.BeforeEach(seam.Begin)"
	}
	if s.module == controllerRuntime {
		imports = append(imports, `seamclient "sigs.k8s.io/controller-runtime/pkg/client"`, `"github.com/k8sretry/k8sretry/k8sretryctrl"`)
		target := "seamclient"
		if s.fake {
			imports, target = append(imports, `seamfake "sigs.k8s.io/controller-runtime/pkg/client/fake"`), "seamfake"
		}
		wrap = "if seam.Library() {\n" + target + ".Seam = func(c seamclient.Client) seamclient.WithWatch { return k8sretryctrl.NewClient(c) }\n}\n"
	}
	return "package " + path.Base(s.dir) + "_test\n\nimport (\n" + strings.Join(imports, "\n") + "\n)\n\n" +
		"func init() {\nrest.Seam = seam.RoundTripper\n" + wrap + begin + "\n}\n"
}

// reasons say, by the text of a failure, why a test fails with the library, and why the library
// cannot help that. The first that matches counts.
var reasons = []struct {
	failure *regexp.Regexp
	reason  string
}{
	{
		regexp.MustCompile(`discovery_client_test.go:\d+: case 1: unexpected error: <nil>`),
		"The test server refuses a request twice, and the test expects that client-go gives up. The Transport repeats the request a second time, and it succeeds.",
	},
	{
		regexp.MustCompile(`the server may have carried out the call: [^{]* already exists`),
		"The answer to a create of an object with a fixed name and without a controller was lost. The object is there, and nothing proves who has made it: the error says so. " +
			"`WithTokenAnnotation` would prove it.",
	},
	{
		regexp.MustCompile(`OperationResult>: unchanged\s+to be equivalent to\s+<[^>]*OperationResult>: created`),
		"The answer to such a create was lost in `CreateOrUpdate` or `CreateOrPatch`, which return its error; the test looks at their other result first.",
	},
	{
		regexp.MustCompile(`the object of this name may have been created since`),
		"The answer to a delete by name through client-go was lost. The object is some seconds old and may be another one than the first delete has met: the error says so. " +
			"NewClient deletes by UID.",
	},
	{
		regexp.MustCompile(`unexpected error when reading response body`),
		"An answer broke off in its body. A Transport ends with the headers of an answer, and above the test's client-go, or the RESTMapper, there is no retry.",
	},
	{
		regexp.MustCompile(`update namespaces/finalize: [^{]*; the server may have carried out the call: [^{]* not found`),
		"The answer to a finalize of a namespace through client-go was lost. The namespace is gone, and nothing proves who has finalized it: the error says so.",
	},
	{
		regexp.MustCompile(`(?s)client_test\.go:64: .*Status: "Failure",\s+Message: "[^{]*not found`),
		"The answer to a delete by name through client-go was lost. The NotFound after its repetition reaches the caller, who may have asked for it.",
	},
	{
		regexp.MustCompile(`max elapsed time reached after [0-9]+ attempt`),
		"NewClient begins the last attempt of a create within 2 s. The RESTMapper asks for discovery inside of the first call of a client, without its context, and faults of the discovery took that time.",
	},
	{
		regexp.MustCompile(`failed waiting for all runnables to end`),
		"The reconciler of a test above that failed sends to a channel that has no reader any more, so that its manager does not end.",
	},
	{
		regexp.MustCompile(`Timed out after 1\.0`),
		"The test waits 1 s, and a request was refused with a `Retry-After` of 1 s, or repeated once or twice.",
	},
	{
		regexp.MustCompile(`already exists|Expected\s+<\[\]|to be equivalent to\s+<int>`),
		"An object of an earlier test that failed is still there. The tests of pkg/cache make six pods of the same names each, so that one lost answer to a create fails all tests that follow.",
	},
}

// reason returns that of a failed test, or "".
func reason(test result) string {
	for _, r := range reasons {
		if r.failure.MatchString(test.Failure) {
			return r.reason
		}
	}
	return ""
}
