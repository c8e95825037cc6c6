// SPDX-License-Identifier: Apache-2.0

// Package recipes contains the code of docs/recipes.md. Each recipe is a test file, and
// its output is checked. The one of informers is in internal/newest.
package recipes
