package k8sretry_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8sretry/k8sretry/internal/testkit"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/k8sretry/k8sretry"
)

// exported is v with its exported fields alone, to compare it with a literal.
func exported(v k8sretry.Verdict) k8sretry.Verdict {
	return k8sretry.Verdict{Class: v.Class, Outcome: v.Outcome, StatusCode: v.StatusCode, RetryAfter: v.RetryAfter, Detail: v.Detail}
}

// A text for logs decides nothing, neither in a Verdict of Classify nor in one that a
// classifier makes.
func TestDetailDecidesNothing(t *testing.T) {
	details := map[string]bool{"": true, "own": true}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			details[k8sretry.Classify(row.err).Detail] = true
		}
	}
	for _, section := range errorsPage {
		for _, row := range section.rows {
			made := k8sretry.Classify(row.err)
			for _, original := range []k8sretry.Verdict{made, exported(made)} {
				for detail := range details {
					v := original
					v.Detail = detail
					for verb := range k8sretry.VerbDeleteCollection + 1 {
						assert.Equal(t, original.Retryable(verb), v.Retryable(verb), "%s with the detail %q, %v", original.Detail, detail, verb)
					}
				}
			}
		}
	}
}

// The only code that looks at a Detail writes it to a log: events.go makes the fields of the lines.
func TestNoDecisionReadsADetail(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir("internal", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil // there may be no such folder
	}))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "log_") || file == "events.go" {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		require.NoError(t, err)
		reads := func(n ast.Node) {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return
			}
			of, _ := s.X.(*ast.Ident)
			ofMeaning := of != nil && strings.HasPrefix(of.Name, "means")
			assert.False(t, s.Sel.Name == "Detail" || ofMeaning && s.Sel.Name == "detail", "%v reads a detail", set.Position(n.Pos()))
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				reads(n.X)
				reads(n.Y)
			case *ast.SwitchStmt:
				reads(n.Tag)
			case *ast.CaseClause:
				for _, e := range n.List {
					reads(e)
				}
			case *ast.IndexExpr:
				reads(n.Index)
			case *ast.CallExpr:
				for _, e := range n.Args {
					reads(e)
				}
			}
			return true
		})
	}
}

// The server processes the objects of a deletecollection one by one. A Verdict of Classify
// knows which failures came before the first; a Verdict of a caller that says "not
// executed" means the whole call.
func TestDeleteCollectionIsRepeatedIfNothingWasDeleted(t *testing.T) {
	const collection = k8sretry.VerbDeleteCollection
	early, late := tooMany(0), failure(500, metav1.StatusReasonInternalError, "Internal error occurred: failed calling webhook")
	assert.True(t, k8sretry.Classify(early).Retryable(collection))
	assert.False(t, k8sretry.Classify(late).Retryable(collection))
	assert.False(t, k8sretry.Classify(aggregate(early, late)).Retryable(collection), "one of several was late")
	assert.True(t, k8sretry.Verdict{Class: server, StatusCode: 500, Detail: "own"}.Retryable(collection))
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name     string
			fails    error
			classify func(error) k8sretry.Verdict
			attempts int
		}{
			{"a Verdict of the caller", status(500, ""), func(error) k8sretry.Verdict {
				return k8sretry.Verdict{Class: server, StatusCode: 500, Detail: "own"}
			}, 2},
			{"a Verdict of Classify without its Detail", late, func(err error) k8sretry.Verdict {
				v := k8sretry.Classify(err)
				v.Detail = ""
				return v
			}, 1},
		} {
			attempts := 0
			_ = k8sretry.Run(t.Context(), func(context.Context) error {
				attempts++
				return c.fails
			}, k8sretry.WithVerb(collection), k8sretry.WithMaxRetries(1),
				k8sretry.WithClassifier(func(err error) (k8sretry.Verdict, bool) { return c.classify(err), true }))
			assert.Equal(t, c.attempts, attempts, c.name)
		}
	})
}

// A failing webhook, quota or backend does not mean that the server fails.
func TestFailureBesideTheServerDoesNotOpenABreaker(t *testing.T) {
	beside := map[string]bool{
		"failed calling webhook": true, "conversion webhook failed": true, "aggregated API server unavailable": true,
		"service has no endpoints": true, "peer server not found": true, "backend unreachable": true,
		"conflict on the status of a quota": true, "conflict on the status of a disruption budget": true,
		"resource version too large": true, "quota evaluation timed out": true, "connection upgrade failed": true,
		"API discovery failed": true,
	}
	found := 0
	for _, section := range errorsPage {
		for _, row := range section.rows {
			v := k8sretry.Classify(row.err)
			if v.Class != server && v.Class != timeout {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{MinFailures: 3})
				for range 20 {
					testkit.Sleep(time.Second)
					_ = k8sretry.Run(t.Context(), func(context.Context) error { return row.err },
						k8sretry.WithBreaker(breaker), k8sretry.WithMaxRetries(0))
				}
				assert.Equal(t, beside[v.Detail], breaker.State() == k8sretry.BreakerClosed, v.Detail)
			})
			if beside[v.Detail] {
				found++
			}
		}
	}
	assert.GreaterOrEqual(t, found, len(beside))
}
