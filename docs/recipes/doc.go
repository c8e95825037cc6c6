// Package recipes holds the code of docs/recipes.md. Each recipe is a test file of its
// own, whose output is checked.
package recipes
