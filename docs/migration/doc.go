// Package migration holds the code of docs/migration.md: for each library that one
// may come from, a function as it was and one as it becomes. Its tests show what the
// two have in common, and what changes.
//
// It is a module of its own, so that nobody who uses k8sretry gets these libraries.
package migration
