// SPDX-License-Identifier: Apache-2.0

// Package hedge measures what a second request for slow reads does: to the time that reads take
// from a server with a few slow answers, and to the load of a server that is slow as a whole.
// It runs in virtual time. This command measures again and writes RESULTS.md:
//
//	go test ./hedge -update
package hedge
