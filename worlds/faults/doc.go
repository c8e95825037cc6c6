// SPDX-License-Identifier: Apache-2.0

// Package faults is what stands between the clients and the server of a world: connections in
// memory, a gateway, a server that restarts. What it does to a request is a function of the
// seed of the world, the call, and the number of the request within the call.
package faults
