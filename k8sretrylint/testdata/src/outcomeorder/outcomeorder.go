package outcomeorder

import (
	"errors"

	"github.com/k8sretry/k8sretry"
)

func wrong(err, other error) int {
	switch {
	case errors.Is(err, k8sretry.ErrMaxRetries):
		return 1
	case errors.Is(err, k8sretry.ErrOutcomeUnknown): // want `not reached for an error that is both ErrMaxRetries and ErrOutcomeUnknown`
		return 2
	}
	if errors.Is(err, k8sretry.ErrDeadline) || errors.Is(err, k8sretry.ErrMaxRetries) {
		return 1
	} else if errors.Is(err, k8sretry.ErrOutcomeUnknown) { // want `both ErrDeadline and ErrOutcomeUnknown`
		return 2
	}
	if errors.Is(other, k8sretry.ErrDeadline) {
		return 1
	}
	if errors.Is(other, k8sretry.ErrOutcomeUnknown) { // want `ask for ErrOutcomeUnknown first`
		return 2
	}
	return 0
}

func right(err, other error) int {
	switch {
	case errors.Is(err, k8sretry.ErrOutcomeUnknown):
		return 2
	case errors.Is(err, k8sretry.ErrMaxRetries):
		return 1
	}
	if errors.Is(other, k8sretry.ErrMaxRetries) {
		println("gave up")
	}
	if errors.Is(other, k8sretry.ErrOutcomeUnknown) {
		return 2
	}
	return 0
}
