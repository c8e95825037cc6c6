package k8sretry_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/k8sretry/k8sretry"
)

// While a server is down, a call with WithMaxQueueTime(0) fails at once and sends nothing.
func ExampleWithLimiter() {
	limiter := k8sretry.NewLimiter() // one for all calls of the process to a server
	policy := k8sretry.NewPolicy(k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(0), k8sretry.WithName("get pod"))

	sent := 0
	down := func(context.Context) error { sent++; return syscall.ECONNREFUSED }
	for range 3 {
		fmt.Println(k8sretry.Run(context.Background(), down, policy))
	}
	fmt.Println("sent:", sent, "limited:", limiter.State().Limited)
	// Output:
	// get pod: max retries reached after 1 attempt: connection refused
	// get pod: max retries reached after 1 attempt: connection refused
	// get pod: held back, not sent after 0 attempts
	// sent: 2 limited: true
}

// All calls together may make one retry in ten seconds. The others return the error of the API.
func ExampleWithBudget() {
	budget := k8sretry.NewBudget(k8sretry.BudgetConfig{MinRetries: 1, Window: 10 * time.Second})
	policy := k8sretry.NewPolicy(k8sretry.WithBudget(budget), k8sretry.WithInitialDelay(0))

	fail := func(context.Context) error { return apierrors.NewServiceUnavailable("try again later") }
	err := k8sretry.Run(context.Background(), fail, policy)
	fmt.Println(errors.Is(err, k8sretry.ErrBudgetExhausted), apierrors.IsServiceUnavailable(err))

	var e *k8sretry.Error
	errors.As(err, &e)
	fmt.Println("attempts:", e.Attempts)
	// Output:
	// true true
	// attempts: 2
}

// A Breaker is shared by the calls to one server. It opens when nearly all attempts of some
// seconds have failed; then calls fail at once, with ErrBreakerOpen.
func ExampleWithBreaker() {
	breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{OpenDuration: 5 * time.Second})
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithBreaker(breaker))

	err := k8sretry.Run(context.Background(), func(context.Context) error { return nil }, policy)
	fmt.Println(err, breaker.State())
	// Output: <nil> closed
}
