package outcomeorder

import (
	"context"
	"errors"

	"github.com/k8sretry/k8sretry"
)

func sequence(ctx context.Context, read, write func(context.Context) error) int {
	err := k8sretry.Run(ctx, read)
	if errors.Is(err, k8sretry.ErrMaxRetries) {
		return 1
	}
	err = k8sretry.Run(ctx, write) // another error
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return 2
	}
	if errors.Is(err, k8sretry.ErrMaxRetries) {
		if errors.Is(err, k8sretry.ErrOutcomeUnknown) { // asked for inside
			return 2
		}
		return 1
	}
	err = k8sretry.Run(ctx, write)
	if errors.Is(err, k8sretry.ErrMaxRetries) {
		err = errors.Join(err, ctx.Err())
		println(err)
		return 1
	}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) { // want `not reached for an error that is both ErrMaxRetries and ErrOutcomeUnknown`
		return 2
	}
	switch {
	case errors.Is(err, k8sretry.ErrMaxRetries):
		err = nil
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // want `not reached for an error that is both ErrMaxRetries and ErrOutcomeUnknown`
		return errorOf(k8sretry.ErrOutcomeUnknown)
	}
	return 0
}

func errorOf(error) int { return 0 }

func inside(err error) int {
	if errors.Is(err, k8sretry.ErrDeadline) {
		if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
			return 2
		}
		return 1
	}
	if errors.Is(err, k8sretry.ErrOutcomeUnknown) {
		return 2
	}
	return 0
}
