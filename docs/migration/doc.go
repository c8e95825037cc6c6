// Package migration holds the code of docs/migration.md: for each library, a function
// before and after the migration to k8sretry. Its tests show what both have in common, and
// what changes.
//
// It is a separate module, so that users of k8sretry do not depend on these libraries.
package migration
