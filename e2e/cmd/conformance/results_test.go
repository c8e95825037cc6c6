// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResultsOfGoTests(t *testing.T) {
	results, err := goResults(strings.NewReader(`{"Action":"start"}
{"Action":"run","Test":"TestSuite"}
{"Action":"output","Test":"TestSuite","Output":"Running Suite"}
{"Action":"fail","Test":"TestSuite","Elapsed":9}
{"Action":"run","Test":"TestPasses"}
{"Action":"pass","Test":"TestPasses","Elapsed":0.25}
{"Action":"run","Test":"TestParent"}
{"Action":"run","Test":"TestParent/passes"}
{"Action":"pass","Test":"TestParent/passes","Elapsed":0.5}
{"Action":"run","Test":"TestParent/fails"}
{"Action":"output","Test":"TestParent/fails","Output":"not equal\n"}
{"Action":"output","Test":"TestParent/fails","Output":"at all\n"}
{"Action":"fail","Test":"TestParent/fails","Elapsed":0.1}
{"Action":"fail","Test":"TestParent","Elapsed":0.6}
{"Action":"run","Test":"TestOnlyTheParentFails"}
{"Action":"run","Test":"TestOnlyTheParentFails/passes"}
{"Action":"pass","Test":"TestOnlyTheParentFails/passes","Elapsed":0}
{"Action":"fail","Test":"TestOnlyTheParentFails","Elapsed":0}
{"Action":"run","Test":"TestIsSkipped"}
{"Action":"skip","Test":"TestIsSkipped","Elapsed":0}
{"Action":"run","Test":"TestEndsTheProcess"}
{"Action":"output","Test":"TestEndsTheProcess","Output":"panic"}
{"Action":"fail","Elapsed":11}
`), "TestSuite")
	require.NoError(t, err)
	assert.Equal(t, []result{
		{Name: "TestPasses", State: passed, Took: 250 * time.Millisecond},
		{Name: "TestParent/passes", State: passed, Took: 500 * time.Millisecond},
		{Name: "TestParent/fails", State: failed, Took: 100 * time.Millisecond, Failure: "not equal\nat all\n"},
		{Name: "TestOnlyTheParentFails", State: failed},
		{Name: "TestOnlyTheParentFails/passes", State: passed},
		{Name: "TestIsSkipped", State: skipped},
		{Name: "TestEndsTheProcess", State: failed, Failure: "panic"},
	}, results)

	_, err = goResults(strings.NewReader("no JSON"), "")
	assert.Error(t, err)
}

func TestResultsOfGinkgo(t *testing.T) {
	results, err := ginkgoResults(strings.NewReader(`[{"SpecReports":[
{"LeafNodeType":"BeforeSuite","State":"passed","RunTime":8},
{"ContainerHierarchyTexts":["Client","Create"],"LeafNodeType":"It","LeafNodeText":"creates","State":"passed","RunTime":1000000},
{"ContainerHierarchyTexts":["Client","Create"],"LeafNodeType":"It","LeafNodeText":"creates","State":"panicked","RunTime":5,
 "Failure":{"Message":"nil","Location":{"FileName":"x_test.go","LineNumber":7}}},
{"ContainerHierarchyTexts":null,"LeafNodeType":"It","LeafNodeText":"waits","State":"pending"},
{"LeafNodeType":"AfterSuite","State":"failed","Failure":{"Message":"left","Location":{"FileName":"y_test.go","LineNumber":1}}}
]}]`))
	require.NoError(t, err)
	assert.Equal(t, []result{
		{Name: "Client Create creates", State: passed, Took: time.Millisecond},
		{Name: "Client Create creates #2", State: failed, Took: 5, Failure: "x_test.go:7: nil"},
		{Name: "waits", State: skipped},
		{Name: "AfterSuite", State: failed, Failure: "y_test.go:1: left"},
	}, results)

	_, err = ginkgoResults(strings.NewReader("no JSON"))
	assert.Error(t, err)
}
