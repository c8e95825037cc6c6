package main

import "k8s.io/client-go/rest"

// prepares change the configuration of all clients.
var prepares []func(*rest.Config)
