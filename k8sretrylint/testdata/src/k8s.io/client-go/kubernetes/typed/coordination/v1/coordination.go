// Package v1 has what the tests need of the package of this path.
package v1

type LeasesGetter interface{ Leases(namespace string) any }

type CoordinationV1Interface interface{ LeasesGetter }
