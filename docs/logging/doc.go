// Package logging holds the code of docs/logging.md, so that it compiles and works. It
// is a module of its own because the page shows logr and controller-runtime.
package logging
