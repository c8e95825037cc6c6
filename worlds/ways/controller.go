// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/k8sretry/k8sretry/k8sretryctrl"
)

// controller makes the calls with the client of k8sretryctrl.
func controller(ctx context.Context, c *Clients, op *Op) error {
	k, key := c.Controller, types.NamespacedName{Namespace: Namespace, Name: op.Name}
	named := metav1.ObjectMeta{Namespace: Namespace, Name: op.Name}
	switch op.Call {
	case Create, Generate, CreateOwned:
		return k.Create(ctx, typed[corev1.ConfigMap](op.created()))
	case Update:
		obj := op.Object.DeepCopy()
		op.change(obj)
		return k.Update(ctx, typed[corev1.ConfigMap](obj))
	case UpdateStatus:
		obj := op.Object.DeepCopy()
		op.setStatus(obj)
		return k.Status().Update(ctx, typed[appsv1.Deployment](obj))
	case Modify:
		return k8sretryctrl.Modify(ctx, k, &corev1.ConfigMap{ObjectMeta: named},
			func(cm *corev1.ConfigMap) error { changed(cm, op.count); return nil }, op.Options...)
	case ModifyStatus:
		return k8sretryctrl.ModifyStatus(ctx, k, &appsv1.Deployment{ObjectMeta: named},
			func(d *appsv1.Deployment) error { changed(d, op.setStatus); return nil }, op.Options...)
	case Delete:
		return k.Delete(ctx, typed[corev1.ConfigMap](op.Object))
	case DeletePod:
		return k.Delete(ctx, typed[corev1.Pod](op.Object))
	case Evict:
		return k.SubResource("eviction").Create(ctx, typed[corev1.Pod](op.Object), eviction(op))
	case Merge, MergeVersion:
		return k.Patch(ctx, typed[corev1.ConfigMap](op.Object), client.RawPatch(types.MergePatchType, op.patch()))
	case JSONTest, JSONAppend:
		return k.Patch(ctx, typed[corev1.ConfigMap](op.Object), client.RawPatch(types.JSONPatchType, op.patch()))
	case Apply:
		return k.Apply(ctx, applycore.ConfigMap(op.Name, Namespace).WithData(map[string]string{"value": op.Value}), client.FieldOwner(op.Manager), client.ForceOwnership)
	case Get, GetCached, GetNotOlder:
		cm, options := &corev1.ConfigMap{}, op.getOptions()
		return op.got(cm, k.Get(ctx, key, cm, &client.GetOptions{Raw: &options}))
	case List, ListCached, ListNotOlder:
		list, options := &corev1.ConfigMapList{}, op.listOptions()
		return op.got(list, k.List(ctx, list, &client.ListOptions{Namespace: Namespace, Raw: &options}))
	default:
		return unknownCall(op)
	}
}

func eviction(op *Op) client.Object {
	return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: op.Name, Namespace: Namespace}}
}
