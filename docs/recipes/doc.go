// Package recipes holds the code of docs/recipes.md. Each recipe is a separate test file,
// whose output is checked.
package recipes
