// SPDX-License-Identifier: Apache-2.0

// Package check looks at the page of examples/dashboard in Chromium, which has to be
// installed:
//
//	go test -count=1 ./...
//	go test -run TestScreenshot . -update # writes docs/dashboard.png
package check
