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

// While the server is down, a call that must not wait fails without sending a request.
func ExampleWithLimiter() {
	limiter := k8sretry.NewLimiter() // shared by all calls to the server
	policy := k8sretry.NewPolicy(k8sretry.WithLimiter(limiter), k8sretry.WithMaxRetries(0), k8sretry.WithMaxQueueTime(0))

	sent := 0
	down := func(context.Context) error { sent++; return syscall.ECONNREFUSED }
	for range 3 {
		err := k8sretry.Run(context.Background(), down, policy)
		fmt.Println("refused:", errors.Is(err, syscall.ECONNREFUSED), "not sent:", errors.Is(err, k8sretry.ErrQueueTimeout))
	}
	fmt.Println("sent:", sent, "limited:", limiter.State().Limited)
	// Output:
	// refused: true not sent: false
	// refused: true not sent: false
	// refused: false not sent: true
	// sent: 2 limited: true
}

// All calls together have one retry in ten seconds. A call without a retry returns the
// error of the API.
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

// All calls to a server share a Breaker. It opens when nearly all attempts of the last
// seconds have failed. Then calls fail at once with ErrBreakerOpen.
func ExampleWithBreaker() {
	breaker := k8sretry.NewBreaker(k8sretry.BreakerConfig{OpenDuration: 5 * time.Second})
	policy := k8sretry.NewPolicy(k8sretry.ForRead(), k8sretry.WithBreaker(breaker))

	err := k8sretry.Run(context.Background(), func(context.Context) error { return nil }, policy)
	fmt.Println(err, breaker.State())
	// Output: <nil> closed
}
