// SPDX-License-Identifier: Apache-2.0

package ways

var (
	writes = []Call{
		Create, Generate, CreateOwned, Update, UpdateStatus, Modify, Modify, ModifyStatus, Delete, DeletePod, Evict,
		Merge, MergeVersion, JSONTest, JSONAppend, Apply,
	}
	methods = []Call{
		Create, Generate, CreateOwned, Update, UpdateStatus, Delete, DeletePod, Evict, Merge, MergeVersion, JSONAppend, Apply, Scale, Get, List,
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
			&Way{Name: "Wrap, Do" + suffix, Limiter: limiter, Calls: methods, run: wrapped},
			&Way{Name: "Wrap, Do on Transport" + suffix, Limiter: limiter, Transport: true, Calls: methods, run: wrapped},
			&Way{Name: "Transport" + suffix, ClientGoSpeaks: true, Limiter: limiter, Transport: true, Calls: append([]Call{JSONTest}, methods...), run: plain},
			&Way{Name: "safe writes" + suffix, Limiter: limiter, Calls: writes, run: safe},
			&Way{Name: "safe writes on Transport" + suffix, Limiter: limiter, Transport: true, Calls: writes, run: safe},
			&Way{Name: "safe writes, dynamic" + suffix, Limiter: limiter, Dynamic: true, Calls: writes, run: dynamicSafe},
			&Way{Name: "k8sretryctrl" + suffix, Limiter: limiter, Calls: append([]Call{Get, List}, writes...), run: controller},
			&Way{Name: "k8sretryctrl on Transport" + suffix, Limiter: limiter, Transport: true, Calls: append([]Call{Get, List}, writes...), run: controller},
		)
	}
	return all
}
