// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"errors"

	"github.com/k8sretry/k8sretry"
)

func outcomeUnknown(err error) bool { return errors.Is(err, k8sretry.ErrOutcomeUnknown) }
