// SPDX-License-Identifier: Apache-2.0

package main

import "k8s.io/client-go/rest"

// prepares change the configuration of all clients.
var prepares []func(*rest.Config)
