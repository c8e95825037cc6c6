// SPDX-License-Identifier: Apache-2.0

package ways

import "slices"

var (
	writes = []Call{
		Create, Generate, CreateOwned, Update, UpdateStatus, Modify, Modify, ModifyStatus, Delete, DeletePod, Evict,
		Merge, MergeVersion, JSONTest, JSONAppend, Apply,
	}
	reads   = []Call{Get, List, GetCached, GetNotOlder, ListCached, ListNotOlder}
	methods = []Call{
		Create, Generate, CreateOwned, Update, UpdateStatus, Delete, DeletePod, Evict, Merge, MergeVersion, JSONAppend, Apply, Scale,
	}
)

// All returns all ways of use.
func All() (all []*Way) {
	for _, limiter := range []bool{false, true} {
		suffix := ""
		if limiter {
			suffix = ", Limiter"
		}
		all = append(all,
			&Way{Name: "Wrap, Do" + suffix, Limiter: limiter, Calls: slices.Concat(reads, methods), run: wrapped},
			&Way{Name: "Wrap, Do on Transport" + suffix, Limiter: limiter, Transport: true, Calls: slices.Concat(reads, methods), run: wrapped},
			&Way{Name: "Transport" + suffix, ClientGoSpeaks: true, Limiter: limiter, Transport: true, Calls: slices.Concat(reads, methods, []Call{JSONTest}), run: plain},
			&Way{Name: "safe writes" + suffix, Limiter: limiter, Calls: writes, run: safe},
			&Way{Name: "safe writes on Transport" + suffix, Limiter: limiter, Transport: true, Calls: writes, run: safe},
			&Way{Name: "safe writes, dynamic" + suffix, Limiter: limiter, Dynamic: true, Calls: writes, run: dynamicSafe},
			&Way{Name: "k8sretryctrl" + suffix, Limiter: limiter, Calls: slices.Concat(reads, writes), run: controller},
			&Way{Name: "k8sretryctrl on Transport" + suffix, Limiter: limiter, Transport: true, Calls: slices.Concat(reads, writes), run: controller},
		)
	}
	return all
}
