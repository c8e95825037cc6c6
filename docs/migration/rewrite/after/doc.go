// SPDX-License-Identifier: Apache-2.0

// Package after has what k8sretrylint makes of the programs of package before.
package after
