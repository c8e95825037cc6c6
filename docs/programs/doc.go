// SPDX-License-Identifier: Apache-2.0

// Package programs tests the programs of the pages docs/cli.md, docs/operator.md,
// docs/service.md and docs/unit-tests.md.
package programs
