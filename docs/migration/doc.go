// SPDX-License-Identifier: Apache-2.0

// Package migration contains the code of docs/migration.md: for each library, a function
// before and after the migration to k8sretry. The tests show what stays the same and what
// changes.
//
// It is a separate module, so that k8sretry does not depend on these libraries.
package migration
