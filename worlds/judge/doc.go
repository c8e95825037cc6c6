// SPDX-License-Identifier: Apache-2.0

// Package judge compares what the calls of a world said with what the server did. It reads
// nothing but the trace, so that the same trace has the same judgement.
package judge
